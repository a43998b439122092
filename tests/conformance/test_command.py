"""The command ``kmscore conformance``: exit codes, output and reports."""

import json
import subprocess
import sys

import pytest

from kmscore.cli import main

WAIVER = """
[[future]]
law = "sym.roundtrip"
provider = "one"
reason = "Not yet"
link = "https://example.com/1"
"""


@pytest.fixture
def conformance(folder, capsys):
    """Runs the command; gives exit code, output and complaints."""

    def run(*arguments):
        code = main(["conformance", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_a_sound_provider_exits_with_0(conformance):
    """And says how many cases passed, with profile and seed."""
    code, said, complaints = conformance(
        "run", "one", "--law", "sym.*", "--profile", "quick", "--seed", "7"
    )
    assert (code, complaints) == (0, "")
    assert "pass" in said
    assert "profile quick, seed 7" in said


def test_an_idle_waiver_exits_with_1(conformance, folder):
    """It is named."""
    (folder / "w.toml").write_text(WAIVER)
    code, said, _ = conformance(
        "run", "one", "--law", "sym.roundtrip", "--profile", "quick", "--waivers", "w.toml"
    )
    assert code == 1
    assert "the waiver sym.roundtrip on one accepts nothing" in said


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("run",), 2, "PROVIDERS"),
        (("run", "three"), 3, "no provider 'three'"),
        (("run", "one", "--peer", "one"), 1, "named twice"),
        (("run", "one", "--profile", "slow"), 1, "no profile 'slow'"),
        (("run", "one", "--law", "sym.rountrip"), 1, "'sym.roundtrip'"),
        (("run", "one", "--waivers", "absent.toml"), 3, "absent.toml"),
        (("run", "one", "--max-calls", "0"), 1, "0 calls are too few"),
        (("run", "one", "--vectors", "absent"), 1, "no folder absent"),
        (("run", "one", "--report", "kms.toml"), 1, "kms.toml cannot be made"),
        (("run", "one", "--report", "/proc/out"), 1, "/proc/out cannot be made"),
        (("laws", "nothing.*"), 1, "no law 'nothing.*'"),
        (("matrix", "absent", "-o", "m.html"), 3, "absent"),
        (("matrix", "kms.toml", "-o", "m.html"), 3, "no report"),
    ],
)
def test_mistakes_are_told(conformance, arguments, code, told):
    """With the exit codes of the command line."""
    got, said, complaints = conformance(*arguments)
    assert (got, said) == (code, "")
    assert told in complaints


def test_a_provider_may_not_be_called_like_a_witness(conformance, folder):
    """Nobody could tell their results apart."""
    text = (folder / "kms.toml").read_text()
    (folder / "kms.toml").write_text(text.replace("providers.two", "providers.openssl"))
    code, _, complaints = conformance("run", "one", "--peer", "openssl")
    assert code == 1
    assert "a provider is named 'openssl'" in complaints


def test_json_is_the_report(conformance):
    """For machines."""
    code, said, _ = conformance("run", "one", "--law", "sym.hides", "--json")
    data = json.loads(said)
    assert code == 0
    assert data["ok"] is True
    assert {each["law"] for each in data["results"]} == {"sym.hides"}


def test_laws_are_listed(conformance):
    """With their sentences; as JSON with layer and requirement."""
    _, said, _ = conformance("laws", "sig.sm2.*")
    assert [line.split()[0] for line in said.splitlines()] == ["sig.sm2.user-id", "sig.sm2.z"]
    _, said, _ = conformance("laws", "sig.sm2.z", "--json")
    (law,) = json.loads(said)
    assert law["layer"] == "properties"
    assert law["requires"] == "SM2DSA signatures"


def test_reports_are_merged_into_a_matrix(conformance, folder):
    """Two runs, one page; as HTML and as Markdown."""
    for name, peer in (("one", "two"), ("two", "one")):
        code, _, _ = conformance(
            *("run", name, "--peer", peer, "--law", "pair.envelope", "--law", "sym.hides"),
            *("--profile", "quick", "--report", f"out/{name}"),
        )
        assert code == 0
    code, said, _ = conformance(
        "matrix", "out/one", "out/two/report.json", "-o", "m.html", "-o", "m.md"
    )
    assert code == 0
    assert said.startswith("one and two keep every law that was tried; left out: ")
    assert said.endswith(" (2 reports)\n")
    assert "| one |  | ✓ 1/1 |" in (folder / "m.md").read_text()
    assert "one and two keep every law" in (folder / "m.html").read_text()


def test_a_matrix_of_another_kind_is_refused(conformance):
    """Nobody wants a page named .pdf that is none."""
    conformance("run", "one", "--law", "sym.hides", "--report", "out")
    code, _, complaints = conformance("matrix", "out", "-o", "m.pdf")
    assert code == 1
    assert "m.pdf is neither .html nor .md" in complaints


def test_keys_are_scheduled_for_deletion(conformance):
    """A run leaves nothing behind that is enabled."""
    conformance("run", "one", "--law", "sym.hides", "--law", "life.archive", "--profile", "quick")
    import kmscore

    with kmscore.connect("one") as kms:
        states = {info.state.value for info in list(kms.keys())}
    assert states == {"PENDING_DELETION"}


def test_without_hypothesis_the_command_says_what_to_install(folder):
    """The help stays whole."""
    program = (
        "import sys, importlib.util as u\n"
        "found = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'hypothesis' else found(name, *rest)\n"
        "from kmscore.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    for arguments, code in ((["--help"], 0), (["conformance", "run", "one"], 3)):
        ran = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
        )
        assert ran.returncode == code
        assert "Traceback" not in ran.stderr
    assert "pip install 'kmscore[conformance]'" in ran.stderr
