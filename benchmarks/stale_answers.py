"""Whether a revoked token is ever honoured a second after its revocation was committed."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.clients import Client

GRACE = 1.0
"""Seconds after the commit from which on no request may be answered 200."""

WATCHED = 3.0
"""Seconds for which a revoked token is presented again and again."""

WATCHERS = 2


class Revoked(NamedTuple):
    token: str
    at: float
    """When its commit returned."""


@dataclass
class Findings:
    """What requests were answered that began GRACE or more after the commit, by status; 0 where nothing was."""

    late: Counter[int] = field(default_factory=Counter)
    last_honoured: float = 0.0
    """The longest that a request began after the commit and was answered 200 all the same, in seconds."""

    def note(self, after: float, status: int) -> None:
        if after >= GRACE:
            self.late[status] += 1
        if status == 200:
            self.last_honoured = max(self.last_honoured, after)


@contextmanager
def watching(port: int) -> Iterator[tuple[Callable[[Revoked], None], list[Findings]]]:
    """Present revoked tokens to a replica, those of the last seconds in turn; yields how to add one.

    The findings, one for each connection, are complete at the end of the context.
    """
    recent: deque[Revoked] = deque()
    stop = threading.Event()
    findings = [Findings() for _ in range(WATCHERS)]
    with ThreadPoolExecutor(WATCHERS) as pool:
        watched = [pool.submit(_watch, port, recent, stop, each) for each in findings]
        try:
            yield recent.append, findings
            time.sleep(WATCHED)
        finally:
            stop.set()
        for each in watched:
            each.result()


def _watch(port: int, recent: deque[Revoked], stop: threading.Event, findings: Findings) -> None:
    client = Client(port)
    while not stop.wait(0.001):
        now = time.perf_counter()
        for revoked in [each for each in list(recent) if now - each.at < WATCHED]:
            after = time.perf_counter() - revoked.at
            findings.note(after, client.ask(revoked.token))
    client.close()
