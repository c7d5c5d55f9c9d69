"""Damage small films of every encoding at random and see that ``LoadFilmd`` reads them or refuses them in a sentence.

    python scripts/fuzz_films.py --minutes 10 --seed 0 --output output/fuzz

A finding is another exception than ``InputError``, a crash, a film that takes more than ``--seconds``, or more than
``--memory`` MB above what the reader itself takes, when it happens again in a new process. The file of each is kept in
``--output``, with the reason in ``findings.txt``; then the exit code is 1.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import time
from collections import Counter
from encodings import write_encodings
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from doll_monai.transforms.reading import LoadFilmd
from doll_monai.utils.errors import InputError, run_program
from doll_monai.utils.progress import Bar
from doll_tools.phantom.film import draw_film

HEADER = 512
"""Bytes at the start of a file that are edited more often than others."""

LIFE = 500
"""Films that one process reads: libraries keep some memory of files that they refuse."""
PATIENCE = 6
"""How many times as long as a film may keep the processor it may wait for it."""
EXPECTED = {"": "read", InputError.__name__: "refused"}


def fuzz_films(
    output: str,
    minutes: float = 10.0,
    seed: int = 0,
    seconds: float = 5.0,
    memory: int = 2048,
    only: str = "",
    quiet: bool = False,
) -> None:
    """Try as many damaged films as there is time for.

    Args:
        output: folder for the seeds and the findings.
        minutes: how long.
        seed: of the damage; what is tried is the same for the same seed.
        seconds: time that a film may take.
        memory: MB that a film may take; one of the largest size that is allowed takes half of that.
        only: end of the names of the encodings that are tried, ``.dcm`` for instance; all by default.
        quiet: show no progress.
    """
    folder = Path(output)
    film = draw_film(np.random.default_rng(0), 40).image
    seeds = [path for path in write_encodings(film, folder / "seeds") if path.name.endswith(only)]
    if not seeds:
        raise InputError(f"No encoding's name ends in '{only}'.")
    contents = {path: path.read_bytes() for path in seeds}
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    reader, end = Reader(memory), time.monotonic() + 60 * minutes
    bar = Bar(name="damaged films", quiet=quiet)
    while time.monotonic() < end:
        path = rng.choice(seeds)
        damaged = folder / f"damaged_{path.name}"
        damaged.write_bytes(damage(rng, contents[path], contents[rng.choice(seeds)]))
        outcome = reader.read(damaged, seconds)
        if outcome not in EXPECTED:
            reader.restart()
            outcome = reader.read(damaged, seconds)
        counts[EXPECTED.get(outcome, "findings")] += 1
        bar.update(1)
        if counts.total() % LIFE == 0:
            reader.restart()
        if outcome not in EXPECTED:
            kept = folder / f"{counts.total():07d}_{path.name}"
            damaged.rename(kept)
            with open(folder / "findings.txt", "a", encoding="utf-8") as report:
                report.write(f"{kept.name}: {outcome}\n")
            print(f"{kept.name}: {outcome}", flush=True)
        else:
            damaged.unlink()
    reader.stop()
    bar.close()
    print(
        f"{counts.total()} films of {len(seeds)} encodings: " + ", ".join(f"{n} {what}" for what, n in counts.items())
    )
    if counts["findings"]:
        raise SystemExit(1)


def damage(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """One to four changes: flipped bits, extreme numbers, blocks copied from elsewhere or from another file, cuts."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        span = len(data) if rng.random() < 0.4 else min(len(data), HEADER)
        if span < 16:
            break
        place, length = rng.randrange(span - 8), rng.choice((1, 2, 4, 8))
        kind = rng.randrange(7)
        if kind <= 1:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[place : place + length] = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80", b"9", b"-")) * length
        elif kind == 3:
            data[place : place + length] = rng.randbytes(length)
        elif kind == 4:
            start, size = rng.randrange(len(data)), rng.randrange(1, 64)
            data[place:place] = data[start : start + size]
        elif kind == 5:
            start, size = rng.randrange(len(other)), rng.randrange(1, 64)
            data[place : place + size] = other[start : start + size]
        else:
            del data[rng.randrange(len(data)) if rng.random() < 0.5 else len(data) - rng.randrange(1, 16) :]
    return bytes(data)


class Reader:
    """A process that reads films; another one takes its place after a crash."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.start()

    def start(self) -> None:
        """Start a process and wait until it is ready."""
        context = multiprocessing.get_context("fork")
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=_serve, args=(there, self.memory), daemon=True)
        self.process.start()
        there.close()

    def read(self, path: Path, seconds: float) -> str:
        """What reading a film ends in: nothing, or the exception or mishap."""
        self.pipe.send(str(path))
        try:
            end = self._processor_seconds() + seconds
            for _ in range(PATIENCE):
                if self.pipe.poll(seconds):
                    return str(self.pipe.recv())
                if self._processor_seconds() > end:
                    break
            outcome = f"takes more than {seconds} s"
        except (EOFError, ConnectionError):
            self.process.join()
            outcome = f"ends the process, exit code {self.process.exitcode}"
        self.restart()
        return outcome

    def _processor_seconds(self) -> float:
        """What the process has used of the processor: one that has to wait for others does not hang."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as status:
            fields = status.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def restart(self) -> None:
        """Go on with a new process."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()


def _serve(pipe: Connection, memory: int) -> None:
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    load = LoadFilmd()
    with open("/proc/self/statm", encoding="ascii") as status:
        taken = int(status.read().split()[0]) * resource.getpagesize()
    limit = taken + memory * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    while True:
        path = pipe.recv()
        try:
            load({"image": path})
            pipe.send("")
        except InputError as error:
            cause = _memory_error(error)
            pipe.send(f"{cause} behind an InputError" if cause else InputError.__name__)
        except BaseException as error:
            pipe.send(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def _memory_error(error: BaseException | None) -> str:
    while error is not None:
        if isinstance(error, MemoryError) or "bad_alloc" in str(error) or "allocate" in str(error):
            return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        error = error.__cause__
    return ""


if __name__ == "__main__":
    run_program(fuzz_films)
