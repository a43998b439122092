"""The pages' examples do what the pages say."""


def test_the_readme_works_as_written(follow):
    """Key file, configuration, Python and commands, from an empty folder."""
    assert follow("README.md", configured=False) == 5


def test_every_hook_has_a_running_example(follow):
    """A provider, an audit subscriber and a command of a plugin are found, loaded and used."""
    assert follow("docs/hooks.md", configured=False) == 11


def test_the_page_on_errors_runs(follow):
    """What it says of errors is what is raised."""
    assert follow("docs/errors.md", configured=True) == 1


def test_the_page_on_the_command_line_runs(follow):
    """Every command in the order of the page."""
    assert follow("docs/cli.md", configured=False) == 33


def test_the_page_on_configuration_runs(follow):
    """Its mistake is told as shown, and its code runs."""
    assert follow("docs/configuration.md", configured=False) == 4


def test_the_page_on_envelopes_runs(follow):
    """Every way in and out, and a message that is opened by hand."""
    assert follow("docs/envelope.md", configured=True) == 6


def test_the_page_on_parquet_runs(follow):
    """A file is written and read, also as a worker on another machine would, and by DuckDB."""
    assert follow("docs/parquet.md", configured=True) == 4
