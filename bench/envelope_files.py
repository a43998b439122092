"""Envelope encryption from the command line: large files, pipes, many small ones, memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bench import bare_frames
from bench.file_peers import PEERS, Peer
from bench.harness import Measure, Row, at_least, at_most, in_turns, median, ratio
from bench.peers import missing
from bench.store import open_store
from kmscore import envelope

MIB = 1 << 20
ROUNDS = 7
MEMORY_FILE = Path("/dev/shm")  # noqa: S108 - only there is the disk out of the measurement
KMSCORE = [str(Path(sys.executable).with_name("kmscore"))]


def rows(folder: Path) -> Iterator[Row]:
    """In processes of their own, as from a shell."""
    place = folder / "files"
    place.mkdir()
    (place / "root.key").write_text("07" * 32)
    (place / "root.key").chmod(0o600)
    (place / "kms.toml").write_text(
        f'[providers.bench]\ntype = "software"\npath = "{place}/keystore.db"\n'
        f'root_key = {{ file = "{place}/root.key" }}\n'
    )
    os.environ["KMSCORE_CONFIG"] = str(place / "kms.toml")
    # As installed: without compiled modules, start-up is all that would be measured.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run(
        [*KMSCORE, "keys", "create", "--alias", "bench"], check=True, stdout=subprocess.DEVNULL
    )
    yield from _large(place)
    yield from _middle(place)
    yield from _pipes(place)
    yield from _many(place)
    yield from _memory(place)


def _ours(plain: Path, sealed: Path, back: Path) -> Peer:
    return Peer(
        [*KMSCORE, "envelope", "encrypt", "--key", "bench", "-i", str(plain), "-o", str(sealed)],
        [*KMSCORE, "envelope", "decrypt", "--key", "bench", "-i", str(sealed), "-o", str(back)],
    )


def _bare(plain: Path, sealed: Path, back: Path, *options: str) -> Peer:
    program = [sys.executable, bare_frames.__file__]
    return Peer(
        [*program, "encrypt", str(plain), str(sealed), *options],
        [*program, "decrypt", str(sealed), str(back), *options],
    )


def _process(command: list[str], output: Path) -> Measure:
    """A whole process; its output is not there before, and nothing else waits for the disk."""

    def measure() -> float:
        output.unlink(missing_ok=True)
        os.sync()
        began = time.perf_counter()
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began

    return measure


def _contenders(folder: Path, size: int, names: list[str]) -> dict[str, tuple[Measure, Measure]]:
    """Encrypting and decrypting a file of that size, by each contender."""
    plain = folder / "plain"
    if not plain.exists() or plain.stat().st_size != size:
        plain.write_bytes(os.urandom(size))
    found: dict[str, tuple[Measure, Measure]] = {}
    for name in names:
        sealed, back = (folder / f"{name.replace(' ', '-')}.{end}" for end in ("sealed", "back"))
        peer = {
            "kmscore": lambda s=sealed, b=back: _ours(plain, s, b),
            "bare": lambda s=sealed, b=back: _bare(plain, s, b),
            "bare and fsync": lambda s=sealed, b=back: _bare(plain, s, b, "sync"),
            "cp": lambda s=sealed, b=back: Peer(["cp", str(plain), str(s)], ["cp", str(s), str(b)]),
        }.get(name, lambda n=name, s=sealed, b=back: PEERS[n](folder, plain, s, b))()
        if peer is None:
            missing.append(name)
            continue
        found[name] = _process(peer.encrypt, sealed), _process(peer.decrypt, back)
    return found


def _compare(
    what: str,
    contenders: dict[str, tuple[Measure, Measure]],
    goals: Mapping[tuple[str, str], float],
) -> Iterator[Row]:
    for number, operation in enumerate(("encrypt", "decrypt")):
        taken = in_turns({name: pair[number] for name, pair in contenders.items()}, ROUNDS)
        ours = taken["kmscore"]
        for name in taken:
            if name == "kmscore":
                continue
            title = f"{what}, {operation}, by {name}'s speed"
            note = f"{median(ours) * 1e3:.0f} ms to {median(taken[name]) * 1e3:.0f}"
            goal = goals.get((operation, name))
            value = ratio(taken[name], ours)
            if goal is None:
                yield Row(title, "", f"{value:.2f} x ({note})")
            else:
                yield at_least(title, value, goal, " x", note)


def _large(folder: Path) -> Iterator[Row]:
    names = ["kmscore", "bare and fsync", "age", "age and sync", "cp", "openssl enc"]
    names.append("Tink streaming")
    # The goals are for the same work. Alone, age leaves its output to the kernel.
    goals = {
        ("encrypt", "age and sync"): 1.5,
        ("decrypt", "age and sync"): 1.7,
        ("encrypt", "bare and fsync"): 0.8,
        ("decrypt", "bare and fsync"): 0.8,
    }
    yield from _compare("256 MiB", _contenders(folder, 256 * MIB, names), goals)
    if MEMORY_FILE.is_dir() and os.access(MEMORY_FILE, os.W_OK):
        inside = MEMORY_FILE / f"kmscore-bench-{os.getpid()}"
        inside.mkdir()
        try:
            contenders = _contenders(inside, 256 * MIB, ["kmscore", "bare", "age", "cp"])
            yield from _compare(
                "256 MiB in memory",
                contenders,
                {("encrypt", "bare"): 0.8, ("decrypt", "bare"): 0.8},
            )
        finally:
            shutil.rmtree(inside)
    else:
        missing.append(str(MEMORY_FILE))


def _middle(folder: Path) -> Iterator[Row]:
    sdk = "aws-encryption-sdk"
    names = ["kmscore", "bare and fsync", "age", "Tink streaming", sdk]
    names.append(f"{sdk}, frames of 1 MiB")
    goals = {("encrypt", sdk): 8, ("decrypt", sdk): 8}
    yield from _compare("64 MiB", _contenders(folder, 64 * MIB, names), goals)
    sealed = (folder / "kmscore.sealed").stat().st_size
    overhead = (sealed - 64 * MIB - 1024) / (64 * MIB) * 100
    yield at_most("Overhead of 64 MiB, after 1 KiB", overhead, 0.03, " %", f"{sealed - 64 * MIB} B")


def _pipes(folder: Path) -> Iterator[Row]:
    plain = folder / "plain"
    plain.write_bytes(os.urandom(256 * MIB))
    age = PEERS["age"](folder, plain, folder / "age.sealed", folder / "out")
    if age is None:
        return
    recipient, identity = age.encrypt[2], age.decrypt[3]
    ours = " ".join(KMSCORE)
    pairs = {
        "kmscore": (f"{ours} envelope encrypt --key bench", f"{ours} envelope decrypt --key bench"),
        "age": (f"age -r {recipient}", f"age -d -i {identity}"),
        "cat": ("cat", "cat"),
    }
    out = folder / "out"
    for number, operation in enumerate(("encrypt", "decrypt")):
        cases: dict[str, Measure] = {}
        for name, pair in pairs.items():
            source = plain if number == 0 else folder / f"piped.{name}"
            target = out if number else folder / f"piped.{name}"
            line = f"cat '{source}' | {pair[number]} | cat > '{target}'"
            cases[name] = _process(["sh", "-c", line], target)
        taken = in_turns(cases, ROUNDS)
        for name, goal in (("age", 1.4), ("cat", None)):
            title = f"256 MiB through pipes, {operation}, by {name}'s speed"
            value = ratio(taken[name], taken["kmscore"])
            note = f"{median(taken['kmscore']) * 1e3:.0f} ms"
            if goal is None:
                yield Row(title, "", f"{value:.2f} x ({note})")
            else:
                yield at_least(title, value, goal, " x", note)


def _many(folder: Path) -> Iterator[Row]:
    source, count = folder / "many", 500
    source.mkdir()
    for number in range(count):
        (source / f"{number:03}").write_bytes(os.urandom(1024))

    def measured(work: Callable[[Path], object]) -> Measure:
        """Into a folder that is new each time: file systems slow down where many files go away."""

        def measure() -> float:
            out = Path(tempfile.mkdtemp(prefix="many-", dir=folder))
            os.sync()
            began = time.perf_counter()
            work(out)
            return time.perf_counter() - began

        return measure

    def plainly(out: Path) -> None:
        for number in range(count):
            data = (source / f"{number:03}").read_bytes()
            draft = out / f".{number:03}"
            draft.write_bytes(data)
            draft.rename(out / f"{number:03}")

    command = [*KMSCORE, "envelope", "encrypt", "--key", "bench", str(source), "-o"]
    with open_store(folder, "many") as kms:
        key = kms.create_key("AES_256")

        def inside(out: Path) -> None:
            with envelope.DataKeyCache() as cache, envelope.Batch() as batch:
                for number in range(count):
                    name = f"{number:03}"
                    envelope.encrypt_file(source / name, out / name, key, cache=cache, batch=batch)

        def whole(out: Path) -> None:
            subprocess.run([*command, str(out)], check=True, capture_output=True)

        one = folder / "one.age"
        ages = {
            name: PEERS[name](folder, source / "000", one, folder / "one.back")
            for name in ("age", "age and sync")
        }
        cases = {
            "kmscore": measured(whole),
            "inside": measured(inside),
            "plainly": measured(plainly),
        }
        for name, peer in ages.items():
            if peer is not None:
                cases[name] = _process(peer.encrypt, one)
        taken = in_turns(cases, ROUNDS)
    yield at_most(
        "500 files of 1 KiB, by reading, writing and renaming them",
        ratio(taken["inside"], taken["plainly"]),
        2,
        " x",
        f"{median(taken['inside']) / count * 1e6:.0f} µs a file",
    )
    yield Row(
        "  the same, from the start of the process",
        "",
        f"{ratio(taken['kmscore'], taken['plainly']):.2f} x "
        f"({median(taken['kmscore']) / count * 1e6:.0f} µs a file)",
    )
    for name in ages:
        if name not in taken:
            continue
        title = f"500 files of 1 KiB in one command, by {name}'s speed for each"
        value = ratio([one * count for one in taken[name]], taken["kmscore"])
        note = f"{median(taken[name]) * 1e3:.1f} ms for one"
        if name == "age":
            yield Row(title, "", f"{value:.2f} x ({note})")
        else:
            yield at_least(title, value, 12, " x", note)


def _memory(folder: Path) -> Iterator[Row]:
    """The most that the process held, by its own account, since it was started."""
    code = (
        "import sys\nfrom kmscore.cli import main\nassert main(sys.argv[1:]) == 0\n"
        "line = next(l for l in open('/proc/self/status') if l.startswith('VmHWM'))\n"
        "print(int(line.split()[1]) / 1024)"
    )
    peaks: dict[tuple[str, int], float] = {}
    for size in (64, 1024):
        plain, sealed, back = (folder / f"{name}.{size}" for name in ("plain", "sealed", "back"))
        with plain.open("wb") as file:
            file.truncate(size * MIB)
        ours = _ours(plain, sealed, back)
        for operation, command in zip(("encrypt", "decrypt"), ours, strict=True):
            arguments = [sys.executable, "-c", code, *command[len(KMSCORE) :]]
            done = subprocess.run(arguments, check=True, capture_output=True, text=True)
            peaks[operation, size] = float(done.stdout)
        for path in (plain, sealed, back):
            path.unlink()
    for operation in ("encrypt", "decrypt"):
        large, small = peaks[operation, 1024], peaks[operation, 64]
        yield at_most(f"Peak memory, {operation}, 1 GiB", large, 45, " MiB")
        yield at_most(f"  more than for 64 MiB, {operation}", large - small, 2, " MiB")
