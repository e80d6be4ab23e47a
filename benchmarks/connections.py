"""What becomes of the rate with many connections, for a request that needs no database and for one that does."""

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median

from benchmarks.clients import ME
from benchmarks.load import TIMEOUT, Answers, ask, ask_patiently, generator
from benchmarks.rounds import interleaved
from benchmarks.subjects import Subject, floor, plain_design, the_service
from benchmarks.tables import Table, Target, pair_ratios, target_table

FULL_ROUNDS = 10
ROUNDS, QUICK_ROUNDS = 4, 1
SECONDS, QUICK_SECONDS = 2.5, 1.0
FEW, MANY = 32, (64, 200, 1_000)
LEVELS = (FEW, *MANY)
SESSIONS = "/api/sessions"
LONGER = {ME: 2, SESSIONS: 3}
"""Times as long: of a thousand connections each waits for seconds, and what is answered at the end counts."""

AT_REST = 0.1
"""Seconds for which one connection asks before many do."""

WITHIN = 0.75
"""Of the rate with FEW connections."""

STALL_MS = 1_000
"""A gap between two answers, on whichever connection, that counts as one."""


def measure(url: str, rounds: int) -> str:
    """Requests a second on ever more connections, each server on one CPU."""
    full = rounds >= FULL_ROUNDS
    turns, seconds = (ROUNDS, SECONDS) if full else (QUICK_ROUNDS, QUICK_SECONDS)
    parts = []
    for path in (ME, SESSIONS):
        with the_service(url, path=path) as service:
            answers = _interleaved(service, LEVELS, turns, seconds * LONGER[path])
        parts += [_table(f"The service, `GET {path}`", answers, "see below"), _targets(answers)]
    with floor(url) as bare:
        answers = _interleaved(bare, (FEW, MANY[-1]), turns, seconds * LONGER[ME])
    parts.append(_table("FastAPI alone (`floor`)", answers, "none; what the server beneath both makes of them"))
    with plain_design(url) as plain:
        answers = {_name(level): [_ask(plain, level, 2 * seconds)] for level in LEVELS[:2]}
    parts.append(_table("The plain design, `GET /users/me`", answers, "none; pool and threads as they come"))
    return "\n\n".join([*parts, f"Asked by {generator()}, which gives an answer up after {TIMEOUT} s."])


def _interleaved(subject: Subject, levels: Sequence[int], rounds: int, seconds: float) -> dict[str, list[Answers]]:
    return interleaved({_name(level): partial(_ask_anew, subject, level, seconds) for level in levels}, rounds)


def _name(connections: int) -> str:
    return f"{connections:,} connections"


def _ask_anew(subject: Subject, connections: int, seconds: float) -> Answers:
    """Once the service is through with those who have hung up."""
    while not ask_patiently(subject.port, subject.requests, 1, AT_REST).ok:
        pass
    return _ask(subject, connections, seconds)


def _ask(subject: Subject, connections: int, seconds: float) -> Answers:
    return ask(subject.port, subject.requests, connections, seconds)


def _table(title: str, answers: Mapping[str, Sequence[Answers]], target: str) -> str:
    notes = {
        "p99 ms": [f"{median(each.p99 for each in figures):.0f}" for figures in answers.values()],
        "longest ms": [f"{max(each.longest for each in figures):.0f}" for figures in answers.values()],
        "longest gap ms": [f"{max(each.longest_gap for each in figures):.0f}" for figures in answers.values()],
        "503": [f"{sum(each.unavailable for each in figures):,}" for figures in answers.values()],
        "other failures": [f"{sum(each.failures for each in figures):,}" for figures in answers.values()],
    }
    return str(Table(title, "requests/s", _rates(answers), target, notes))


def _targets(answers: Mapping[str, Sequence[Answers]]) -> str:
    rates = _rates(answers)
    targets = []
    for level in map(_name, MANY):
        ratios = pair_ratios(rates, level, _name(FEW))
        targets.append(Target(f"{level} / {FEW}", ratios, WITHIN))
    every = [each for figures in answers.values() for each in figures]
    gaps, failures = [each.longest_gap for each in every], [float(each.failures) for each in every]
    targets.append(Target("the longest gap between two answers, ms", [max(gaps)], STALL_MS, at_most=True))
    targets.append(Target("failures other than 503", [sum(failures)], 0, at_most=True))
    return target_table(*targets)


def _rates(answers: Mapping[str, Sequence[Answers]]) -> dict[str, list[float]]:
    return {name: [each.rate for each in figures] for name, figures in answers.items()}
