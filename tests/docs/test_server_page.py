"""The page on the server does what it says."""


def test_the_page_on_the_server_runs(follow):
    """A server is started, used through the SDK and ended, as the page says."""
    assert follow("docs/server.md", configured=False) == 4
