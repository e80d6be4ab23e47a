"""How many sign-ins there can be a second, beside the work that none can do without, and the memory they take."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import NamedTuple

import psutil

from benchmarks.cpus import ALL_CPUS, pinned
from benchmarks.load import ask_patiently
from benchmarks.rounds import interleaved
from benchmarks.servers import REPOSITORY
from benchmarks.subjects import Subject, the_service
from benchmarks.tables import Table, Target, pair_ratios, target_table

FULL_ROUNDS = 10
ROUNDS, QUICK_ROUNDS = 3, 1
SECONDS, QUICK_SECONDS = 10.0, 2.0
"""Those that are half done at the end do not count, which are several percent of what two CPUs do in four seconds."""

ACCOUNTS = 2_000
BARE = "bare Argon2id, a thread for each CPU"
FEW, MANY = 8, 32
SIGN_INS = "sign-ins, {} connections"
MIB_EACH, MIB_BESIDES = 64, 32
SAMPLED = 0.01
"""Seconds between two looks at the worker's memory."""


class Measured(NamedTuple):
    rate: float
    unavailable: float
    """Answers of 503 a second."""
    p99: float
    mebibytes: float
    """The most that was resident; 0 where nobody looked."""


def measure(url: str, rounds: int) -> str:
    """Sign-ins a second, the server on every CPU, and what the same CPUs verify with nothing around it."""
    full = rounds >= FULL_ROUNDS
    seconds = SECONDS if full else QUICK_SECONDS
    with the_service(url, accounts=ACCOUNTS, cpus=ALL_CPUS) as service:
        base = _resident(service.pid)
        variants = {BARE: partial(_bare, seconds)}
        for connections in (FEW, MANY):
            variants[SIGN_INS.format(connections)] = partial(_sign_in, service, connections, seconds)
        measured = interleaved(variants, ROUNDS if full else QUICK_ROUNDS)
    return _report(measured, base)


def _bare(seconds: float) -> Measured:
    command = [sys.executable, "-m", "benchmarks.bare_hashing", str(seconds)]
    with pinned(ALL_CPUS):
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return Measured(float(done.stdout), 0.0, 0.0, 0.0)


def _sign_in(service: Subject, connections: int, seconds: float) -> Measured:
    """Those who are refused with a 503 wait for as long as they are told to."""
    with _watched(service.pid) as mebibytes:
        answers = ask_patiently(service.port, service.sign_ins, connections, seconds)
    if not answers.ok or answers.failures:
        raise RuntimeError(f"not everybody could sign in: {answers}")
    return Measured(answers.rate, answers.unavailable / answers.seconds, answers.p99, max(mebibytes))


@contextmanager
def _watched(pid: int) -> Iterator[list[float]]:
    """What was resident, again and again, beside what is done in the context."""
    stop, found = threading.Event(), [_resident(pid)]

    def watch() -> None:
        while not stop.wait(SAMPLED):
            found.append(_resident(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def _resident(pid: int) -> float:
    """MiB."""
    mebibytes: float = psutil.Process(pid).memory_info().rss / 2**20
    return mebibytes


def _report(measured: dict[str, list[Measured]], base: float) -> str:
    runs = {name: [each.rate for each in figures] for name, figures in measured.items()}
    notes = {
        "503/s": [f"{median(each.unavailable for each in figures):.3g}" for figures in measured.values()],
        "p99 ms": [f"{median(each.p99 for each in figures):.0f}" for figures in measured.values()],
        "peak MiB": [f"{max(each.mebibytes for each in figures):.0f}" for figures in measured.values()],
    }
    table = Table("Sign-ins on every CPU", "a second", runs, "see below", notes)
    allowed = MIB_EACH * (psutil.cpu_count() or 1) + MIB_BESIDES
    few, many = (SIGN_INS.format(connections) for connections in (FEW, MANY))
    targets = [Target(f"{name} / bare", pair_ratios(runs, name, BARE), 0.9) for name in (few, many)]
    grown = [each.mebibytes - base for name in (few, many) for each in measured[name]]
    targets.append(Target("peak of resident memory above that before, MiB", grown, allowed, at_most=True))
    return f"{table}\n\n{target_table(*targets)}\n\n{base:.0f} MiB were resident before the first sign-in. {_METHOD}"


_METHOD = (
    "The parameters are those of `app.identity.hashing`. Who is answered 503 tries again after the seconds that "
    "`Retry-After` says; the answers of 503 count for nothing else. The load is the generator in Python, on one of "
    "the CPUs that the server uses as well."
)
