"""What is left to other requests beside a flood of sign-ins."""

from contextlib import ExitStack
from functools import partial
from statistics import median
from time import sleep
from typing import NamedTuple

from benchmarks.load import Answers, ask, ask_all_right, asking_patiently, generator
from benchmarks.requests import CONNECTIONS
from benchmarks.rounds import interleaved
from benchmarks.subjects import Subject, fastapi_users, the_service
from benchmarks.tables import Table, Target, pair_ratios, target_table

FULL_ROUNDS = 10
ROUNDS, QUICK_ROUNDS = 4, 1
SECONDS, QUICK_SECONDS = 3.0, 2.0
SIGNING_IN = 8
LEAD = 1.0
"""Seconds for which there are sign-ins before other requests are counted, and after."""

ACCOUNTS = 500
ALONE, BESIDE = "{}, alone", "{}, beside sign-ins"
SERVICE, RIVAL = "the service", "fastapi-users, JWT"


class Measured(NamedTuple):
    answers: Answers
    sign_ins: float
    """A second."""


def measure(url: str, rounds: int) -> str:
    """Requests a second on 32 connections, alone and beside 8 connections of sign-ins, all on the server's one CPU."""
    full = rounds >= FULL_ROUNDS
    seconds = SECONDS if full else QUICK_SECONDS
    with ExitStack() as stack:
        subjects = {
            SERVICE: stack.enter_context(the_service(url, accounts=ACCOUNTS)),
            RIVAL: stack.enter_context(fastapi_users(url, "with_jwt")),
        }
        variants = {}
        for name, subject in subjects.items():
            variants[ALONE.format(name)] = partial(_alone, subject, seconds)
            variants[BESIDE.format(name)] = partial(_beside, subject, seconds)
        runs = interleaved(variants, ROUNDS if full else QUICK_ROUNDS)
    return _report(runs)


def _alone(subject: Subject, seconds: float) -> Measured:
    return Measured(ask_all_right(subject.port, subject.requests, CONNECTIONS, seconds), 0.0)


def _beside(subject: Subject, seconds: float) -> Measured:
    with asking_patiently(subject.port, subject.sign_ins, SIGNING_IN, seconds + 2 * LEAD) as found:
        sleep(LEAD)
        answers = ask(subject.port, subject.requests, CONNECTIONS, seconds)
    if answers.failures or answers.unavailable:
        raise RuntimeError(f"not everything was answered 200: {answers}")
    if not found[0].ok or found[0].failures:
        raise RuntimeError(f"not everybody could sign in: {found[0]}")
    return Measured(answers, found[0].rate)


def _report(measured: dict[str, list[Measured]]) -> str:
    runs = {name: [each.answers.rate for each in figures] for name, figures in measured.items()}
    notes = {
        "p99 ms": [f"{median(each.answers.p99 for each in figures):.3g}" for figures in measured.values()],
        "sign-ins/s": [f"{median(each.sign_ins for each in figures):.3g}" for figures in measured.values()],
    }
    shares = {name: pair_ratios(runs, BESIDE.format(name), ALONE.format(name)) for name in (SERVICE, RIVAL)}
    table = Table(
        f"`GET /api/users/me` beside {SIGNING_IN} connections of sign-ins", "requests/s", runs, "see below", notes
    )
    beside = BESIDE.format(SERVICE)
    p99 = [each.answers.p99 for each in measured[beside]]
    targets = target_table(
        Target(f"{beside} / alone", shares[SERVICE], 0.4),
        Target(f"{beside}, p99 ms", p99, 40, at_most=True),
    )
    return f"{table}\n\n{targets}\n\n{RIVAL}: {median(shares[RIVAL]):.3f} of its rate alone. {_METHOD}"


_METHOD = (
    f"Asked by {generator()}; sign-ins come from the generator in Python. All is on the server's one CPU but the load."
)
