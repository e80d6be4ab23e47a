"""Passwords as the rest of the service uses them: held to the policy, and hashed a few at a time.

`password_policy` says what a password may be, `hashing` what is stored of it.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import ceil
from pathlib import Path
from threading import Semaphore
from typing import ParamSpec, TypeVar

from app.identity.hashing import HashingBusy, Verdict, hash_password, verify_password
from app.identity.password_policy import GivenPassword, NewPassword, refuse_weak

__all__ = [
    "GivenPassword",
    "HashingBusy",
    "HashingLane",
    "NewPassword",
    "Verdict",
    "hash_password",
    "refuse_weak",
    "verify_password",
]

_CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")

NICENESS = 3
"""How much nicer than others the threads are that hash: of a CPU that both want, those others have two thirds."""

P = ParamSpec("P")
T = TypeVar("T")


class Lane:
    """Threads of its own for slow work, and a short queue before them.

    A flood of it takes neither the event loop nor the threads of other requests.
    """

    def __init__(self, workers: int, queue: int, patience: float, begin: Callable[[], object] | None = None) -> None:
        """`queue` is how many may wait, `patience` how long each does, in seconds; each thread does `begin` first."""
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="passwords", initializer=begin)
        self._places = Semaphore(workers + queue)
        self._patience = patience

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` answers, in a thread of the lane.

        A caller that is cancelled gives up its place: at once while it waits, else when its work is done.

        Raises:
            HashingBusy: the queue is full, or does not move.
        """
        self._take_place()
        job = self._threads.submit(work, *args, **kwargs)
        job.add_done_callback(lambda _: self._places.release())
        answer = asyncio.wrap_future(job)
        try:
            await asyncio.wait([answer], timeout=self._patience)
            if job.cancel():  # it had not begun
                raise HashingBusy
            return await answer
        finally:
            answer.cancel()

    def refuse_when_full(self) -> None:
        """Raise HashingBusy where `run` would, right now: for what would be done in vain before it."""
        self._take_place()
        self._places.release()

    def _take_place(self) -> None:
        if not self._places.acquire(blocking=False):
            raise HashingBusy

    def close(self) -> None:
        """What has not begun never will."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class HashingLane(Lane):
    """Where passwords are hashed: as many at once as there are CPUs. One for each process.

    New ones are scored in a lane of one beside it: whoever makes up passwords keeps nobody from signing in.
    """

    def __init__(self, workers: int | None = None, queue: int | None = None, patience: float = 2.0) -> None:
        """`queue` is four for each worker unless told."""
        workers = workers or _cpus()
        super().__init__(workers, 4 * workers if queue is None else queue, patience, begin=_give_way)
        # Not nicer: it scores with the interpreter's lock, and whoever is kept waiting with that keeps all others.
        self._scoring = Lane(1, 8, patience)

    async def hash(self, password: str) -> str:
        """What `hash_password` answers. Raises HashingBusy."""
        return await self.run(hash_password, password)

    async def hash_new(self, password: str, *, pointer: str, about: Iterable[str | None]) -> str:
        """The hash of a password that `refuse_weak` lets pass. Raises InvalidInput or HashingBusy."""
        await self.refuse_weak(password, pointer=pointer, about=about)
        return await self.hash(password)

    async def refuse_weak(self, password: str, *, pointer: str, about: Iterable[str | None]) -> None:
        """What `refuse_weak` raises, or HashingBusy."""
        await self._scoring.run(refuse_weak, password, pointer=pointer, about=about)

    async def verify(self, password: str, stored: str | None) -> Verdict:
        """What `verify_password` answers. Raises HashingBusy."""
        return await self.run(verify_password, password, stored)

    def close(self) -> None:
        super().close()
        self._scoring.close()


def _give_way() -> None:
    """Let the event loop go first where both want one CPU; elsewhere than on Linux `nice` is for the whole process."""
    if sys.platform == "linux":
        with suppress(OSError):  # where it is forbidden, they share
            os.nice(NICENESS)


def _cpus() -> int:
    """Those this process may use, where the system tells; a container may have a part of one."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no such file, or no limit: `max`
        quota, period = map(int, _CGROUP_LIMIT.read_text(encoding="ascii").split())
        cpus = min(cpus, ceil(quota / period))
    return cpus
