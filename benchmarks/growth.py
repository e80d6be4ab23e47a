"""Whether a worker grows with the number of tokens it has seen."""

import json
import random
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from itertools import islice
from statistics import mean
from typing import NamedTuple

import psutil
from fastapi import FastAPI

from app.identity.principal_cache import MAX_ENTRIES, MAX_WEIGHT
from benchmarks.clients import ME
from benchmarks.credentials import open_sessions
from benchmarks.load import ask_all_right, generator, get
from benchmarks.servers import serving

READY = "/api/health/ready"
CACHE = "/benchmark/cache"
REQUESTS, QUICK_REQUESTS = 1_000_000, 20_000
FULL_ROUNDS = 10
CONNECTIONS = 16
TURN = 10
"""Of so many requests one presents the next of all tokens in turn, and the others one of the hot ones."""

HOT = 0.08
"""The share of the tokens that most requests present; they find room in the cache beside others."""

SAMPLES = 20
LONGEST = 300.0
"""Seconds in which the requests between two samples are certainly answered."""

MOST_GROWTH = 1.05


class Sample(NamedTuple):
    requests: int
    seconds: float
    mebibytes: float
    entries: int
    reckoned: float
    """MiB that the cache believes it takes."""


def measure(url: str, rounds: int) -> str:
    """Resident memory and the size of the cache, from the start until after a million requests."""
    requests = REQUESTS if rounds >= FULL_ROUNDS else QUICK_REQUESTS
    tokens = [credential.token for credential in open_sessions(url, requests // TURN)]
    with serving("benchmarks.growth:observed", url, READY) as (process, port, _):
        samples = _grow(process.pid, port, tokens)
    return f"{_report(samples, len(tokens))}\nAsked by {generator()}."


def observed() -> FastAPI:
    """The service, which also tells how much is in its cache."""
    from app import main  # noqa: PLC0415 - the service must not be loaded where it is not measured

    app = main.create_app()

    @app.get(CACHE)
    async def read_cache() -> dict[str, int]:
        cache = app.state.authenticator._cache  # noqa: SLF001
        return {"entries": len(cache), "weight": cache._weight}  # noqa: SLF001

    return app


def _grow(pid: int, port: int, tokens: Sequence[str]) -> list[Sample]:
    presented, part = _presented(tokens), TURN * len(tokens) // SAMPLES
    samples, asked, began = [_sample(pid, port, 0, 0.0)], 0, time.perf_counter()
    for _ in range(SAMPLES):
        requests = [get(ME, token) for token in islice(presented, part)]
        asked += ask_all_right(port, requests, CONNECTIONS, LONGEST, most=part).ok
        samples.append(_sample(pid, port, asked, time.perf_counter() - began))
    return samples


def _presented(tokens: Sequence[str]) -> Iterator[str]:
    hot = tokens[: round(HOT * len(tokens))]
    for token in tokens:
        yield token
        yield from random.choices(hot, k=TURN - 1)


def _sample(pid: int, port: int, requests: int, seconds: float) -> Sample:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", CACHE)
    cache = json.load(connection.getresponse())
    connection.close()
    memory = psutil.Process(pid).memory_info().rss / 2**20
    return Sample(requests, seconds, memory, cache["entries"], cache["weight"] / 2**20)


def _report(samples: Sequence[Sample], tokens: int) -> str:
    lines = [
        f"## A worker under {samples[-1].requests:,} requests over {tokens:,} tokens",
        "",
        "| requests | seconds | resident MiB | principals in the cache | MiB, as it reckons |",
        "|-|-|-|-|-|",
    ]
    lines += [
        f"| {each.requests:,} | {each.seconds:.0f} | {each.mebibytes:.1f} | {each.entries:,} | {each.reckoned:.1f} |"
        for each in samples[:: SAMPLES // 10]
    ]
    first, second = samples[-1].requests / 3, samples[-1].requests * 2 / 3
    middle = mean(each.mebibytes for each in samples if first < each.requests <= second)
    last = mean(each.mebibytes for each in samples if each.requests > second)
    return "\n".join(
        [
            *lines,
            "",
            f"The mean of the last third is {last / middle:.3f} times that of the middle third.",
            f"Target: <= {MOST_GROWTH}; never more than {MAX_ENTRIES:,} principals or {MAX_WEIGHT / 2**20:.0f} MiB.",
        ]
    )
