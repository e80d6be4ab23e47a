"""What an authenticated request costs, beside FastAPI alone and beside what others do."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from benchmarks.load import ask_all_right, generator
from benchmarks.rounds import interleaved
from benchmarks.subjects import fastapi_users, floor, plain_design, the_service
from benchmarks.tables import Runs, Table, Target, pair_ratios, target_table

FULL_ROUNDS = 10
CONNECTIONS = 32
SECONDS = 1.0
WARM_UP = 2.0
CALLERS, QUICK_CALLERS = 10_000, 1_000
FLOOR = "FastAPI alone (`floor`)"
SERVICE = "the service"
MANY = "the service, its tokens in turn"
JWT = "fastapi-users, JWT"
STORED = "fastapi-users, tokens in its database"
PLAIN = "plain design"
LIMITS = ((SERVICE, FLOOR, 0.80), (MANY, FLOOR, 0.70), (SERVICE, JWT, 10), (SERVICE, STORED, 10), (SERVICE, PLAIN, 8))


def measure(url: str, rounds: int) -> str:
    """`GET /api/users/me` a second on 32 connections, each server on the same CPU, the load on another."""
    callers = CALLERS if rounds >= FULL_ROUNDS else QUICK_CALLERS
    with ExitStack() as stack:
        service = stack.enter_context(the_service(url, callers))
        one = service.requests[:1]
        jwt, stored = (
            stack.enter_context(fastapi_users(url, factory)) for factory in ("with_jwt", "with_database_strategy")
        )
        plain = stack.enter_context(plain_design(url))
        bare = stack.enter_context(floor(url))
        variants = {
            FLOOR: partial(_rate, bare.port, one),
            SERVICE: partial(_rate, service.port, one),
            MANY: partial(_rate, service.port, service.requests),
            JWT: partial(_rate, jwt.port, jwt.requests),
            STORED: partial(_rate, stored.port, stored.requests),
            PLAIN: partial(_rate, plain.port, plain.requests),
        }
        warm(service.port, service.requests)
        runs = interleaved(variants, rounds)
    title = f"`GET /api/users/me`, {CONNECTIONS} connections"
    table = Table(title, "requests/s", runs, "see below")
    return f"{table}\n\n{_targets(runs)}\n\n{_method(callers)}"


def warm(port: int, requests: Sequence[bytes]) -> None:
    """Present every token once at least."""
    answered = 0
    while answered < len(requests):
        answered += ask_all_right(port, requests[answered:], CONNECTIONS, WARM_UP).ok


def _rate(port: int, requests: Sequence[bytes]) -> float:
    return ask_all_right(port, requests, CONNECTIONS, SECONDS).rate


def _targets(runs: Runs) -> str:
    return target_table(
        *(Target(f"{variant} / {base}", pair_ratios(runs, variant, base), limit) for variant, base, limit in LIMITS)
    )


def _method(callers: int) -> str:
    return (
        f"Asked by {generator()} for {SECONDS:g} s at a time; {callers:,} different tokens in turn, each of another "
        "user, and all of them warm. Every server is one uvicorn worker on one CPU, with the same flags."
    )
