"""How soon a replica refuses what was revoked elsewhere, and that it always does within a second."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from statistics import quantiles
from typing import NamedTuple

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.db.engine import connect
from benchmarks.clients import Client
from benchmarks.credentials import Credential, open_sessions
from benchmarks.disturbances import DISTURBANCES, Disturbance, disturbed, listeners
from benchmarks.saturation import saturated
from benchmarks.servers import serving
from benchmarks.stale_answers import GRACE, Revoked, watching

READY = "/api/health/ready"
BY_SQL, BY_REPLICA = "since a commit by SQL", "since replica A answered"
TURNS = (BY_SQL, BY_SQL, BY_SQL, BY_SQL, BY_REPLICA)
REPEATS, QUICK_REPEATS = 250, 10

FULL_ROUNDS = 10
DISTURBED, QUICK_DISTURBED = 15.0, 4.0
"""Seconds of each disturbance."""

BETWEEN = 0.05
"""Seconds between two revocations during one."""

CALM = 30.0
"""Seconds until every replica listens again, at most."""

TARGETS_MS = {"idle": 50, "under full load": 250}

_END = text("UPDATE user_sessions SET ended_at = timezone('utc', now()), end_reason = 'ended' WHERE id = :id")

Revoke = Callable[[Credential], float]
"""Revokes it; when that was done."""


class Replicas(NamedTuple):
    a: int
    b: int
    """The ports of two processes over one database."""


class Latencies(NamedTuple):
    name: str
    milliseconds: Sequence[float]
    honoured_later: int
    """How many of the tokens were answered 200 when they were presented again GRACE after the last revocation."""
    target: int


def measure(url: str, rounds: int) -> str:
    """Two replicas: idle, with the second under full load, and with its notifications disturbed."""
    full = rounds >= FULL_ROUNDS
    repeats, seconds = (REPEATS, DISTURBED) if full else (QUICK_REPEATS, QUICK_DISTURBED)
    needed = len(TARGETS_MS) * len(TURNS) * repeats + len(DISTURBANCES) * round(seconds / BETWEEN)
    unrevoked, *sessions = open_sessions(url, needed + 1)
    credentials = iter(sessions)
    with _replicas(url) as replicas:
        latencies = _compare(url, replicas, credentials, repeats, "idle")
        with saturated(replicas.b, unrevoked.token) as load:
            latencies += _compare(url, replicas, credentials, repeats, "under full load")
        rows = []
        for disturbance in DISTURBANCES:
            _await_calm(url, replicas, unrevoked.token)
            rows.append(_disturb(url, replicas.b, credentials, seconds, disturbance))
    return f"{_latency_table(latencies, load)}\n\n{_disturbance_table(rows)}"


@contextmanager
def _replicas(url: str) -> Iterator[Replicas]:
    with ExitStack() as stack:
        a, b = (stack.enter_context(serving("app.main:app", url, READY))[1] for _ in Replicas._fields)
        yield Replicas(a, b)


def _compare(
    url: str, replicas: Replicas, credentials: Iterator[Credential], repeats: int, when: str
) -> list[Latencies]:
    """In turns: committed by hand, and by the first replica, which then answers."""
    with connect(url) as connection, closing(Client(replicas.a)) as client:
        ways: dict[str, Revoke] = {
            BY_SQL: lambda credential: _by_sql(connection, credential),
            BY_REPLICA: lambda credential: _by_replica(client, credential),
        }
        figures: dict[str, list[float]] = {name: [] for name in ways}
        revoked: dict[str, list[str]] = {name: [] for name in ways}
        with ThreadPoolExecutor(1) as pool, closing(Client(replicas.b)) as asker:
            for name in TURNS * repeats:
                credential = next(credentials)
                figures[name].append(1000 * _latency(pool, asker, credential, ways[name]))
                revoked[name].append(credential.token)
            time.sleep(GRACE)
            honoured = {name: sum(asker.ask(token) == 200 for token in revoked[name]) for name in ways}
    return [Latencies(f"{when}, {name}", figures[name], honoured[name], TARGETS_MS[when]) for name in ways]


def _latency(pool: ThreadPoolExecutor, asker: Client, credential: Credential, revoke: Revoke) -> float:
    """Seconds from the revocation until the first 401, while the token is presented without pause."""
    for _ in range(2):
        if (status := asker.ask(credential.token)) != 200:
            raise RuntimeError(f"answered {status} before the revocation")
    refused = pool.submit(_first_refusal, asker, credential.token)
    revoked = revoke(credential)
    return max(0.0, refused.result() - revoked)


def _first_refusal(asker: Client, token: str) -> float:
    """When it was answered."""
    while (status := asker.ask(token)) == 200:
        pass
    if status != 401:
        raise RuntimeError(f"answered {status}")
    return time.perf_counter()


def _by_sql(connection: Connection, credential: Credential) -> float:
    connection.execute(_END, {"id": credential.session_id})
    connection.commit()
    return time.perf_counter()


def _by_replica(client: Client, credential: Credential) -> float:
    status = client.ask(credential.token, "DELETE", f"/api/sessions/{credential.session_id}")
    if status != 204:
        raise RuntimeError(f"answered {status}")
    return time.perf_counter()


class Disturbed(NamedTuple):
    name: str
    times: int
    revocations: int
    late: Counter[int]
    last_honoured: float


def _disturb(
    url: str, port: int, credentials: Iterator[Credential], seconds: float, disturbance: Disturbance
) -> Disturbed:
    """Revoke warm tokens one after the other meanwhile, and present each of them for some seconds."""
    count = 0
    with watching(port) as (watch, findings), disturbed(url, disturbance) as times:
        for revoked in _revoked(url, port, credentials, seconds):
            watch(revoked)
            count += 1
    late = sum((each.late for each in findings), Counter[int]())
    return Disturbed(disturbance.name, times.count, count, late, max(each.last_honoured for each in findings))


def _revoked(url: str, port: int, credentials: Iterator[Credential], seconds: float) -> Iterator[Revoked]:
    """As long as the time lasts; a token that the replica cannot be asked about, or whose commit fails, is left out."""
    end = time.monotonic() + seconds
    with closing(Client(port)) as asker:
        while time.monotonic() < end:
            try:
                with connect(url) as connection:
                    while time.monotonic() < end:
                        time.sleep(BETWEEN)
                        credential = next(credentials)
                        if asker.ask(credential.token) == 200:
                            yield Revoked(credential.token, _by_sql(connection, credential))
            except DBAPIError:
                time.sleep(BETWEEN)


def _await_calm(url: str, replicas: Replicas, token: str) -> None:
    """Until every replica honours a token that is not revoked, and listens."""
    deadline = time.monotonic() + CALM
    clients = [Client(port) for port in replicas]
    while len(listeners(url)) < len(replicas) or any(client.ask(token) != 200 for client in clients):
        if time.monotonic() > deadline:
            raise RuntimeError("the replicas did not recover")
        time.sleep(BETWEEN)
    time.sleep(GRACE)
    for client in clients:
        client.close()


def _latency_table(latencies: Sequence[Latencies], load: str) -> str:
    lines = [
        "## From a revocation to the first 401 of another replica",
        "",
        f"| | revocations | p50 ms | p99 ms | max ms | target, p99 ms | of them 200 {GRACE:.0f} s later |",
        "|-|-|-|-|-|-|-|",
    ]
    for each in latencies:
        figures = quantiles(each.milliseconds, n=100, method="inclusive")
        spread = f"{figures[49]:.1f} | {figures[98]:.1f} | {max(each.milliseconds):.1f}"
        lines.append(f"| {each.name} | {len(each.milliseconds):,} | {spread} | {each.target} | {each.honoured_later} |")
    return "\n".join([*lines, "", f"Full load is that of {load} on 32 connections. Target: none honoured later."])


def _disturbance_table(rows: Sequence[Disturbed]) -> str:
    lines = [
        f"## Requests with revoked tokens that begin {GRACE:.0f} s and more after the commit",
        "",
        "| while again and again | times | revocations | requests | 401 | 503 | no answer | 200 | last 200, s after |",
        "|-|-|-|-|-|-|-|-|-|",
    ]
    for row in rows:
        statuses = " | ".join(f"{row.late[status]:,}" for status in (401, 503, 0, 200))
        counts = f"{row.times} | {row.revocations:,} | {row.late.total():,}"
        lines.append(f"| {row.name} | {counts} | {statuses} | {row.last_honoured:.2f} |")
    return "\n".join([*lines, "", "Every request counts for the last column. Target: no 200."])
