"""Which CPUs a process may use; where the system cannot say, every one uses all."""

import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager


def _available() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


ALL_CPUS = frozenset(_available())
SERVER_CPUS = frozenset(_available()[:1])
LOAD_CPUS = frozenset(_available()[1:2]) or SERVER_CPUS


@contextmanager
def pinned(cpus: AbstractSet[int]) -> Iterator[None]:
    """Processes that this thread starts in the context, and their threads, may use these alone."""
    if not cpus:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
