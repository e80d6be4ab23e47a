"""Passwords as the rest of the service uses them: held to the policy, and hashed a few at a time.

`password_policy` says what a password may be, `hashing` what is stored of it.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
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

P = ParamSpec("P")
T = TypeVar("T")


class HashingLane:
    """Where passwords are hashed: as many at once as there are CPUs, and a short queue before them.

    One for each process. A flood of sign-ins takes neither more memory than that, nor the event loop, nor the
    threads of other requests.
    """

    def __init__(self, workers: int | None = None, queue: int | None = None, patience: float = 2.0) -> None:
        """`queue` is how many may wait, four for each worker unless told; `patience` how long each does, in seconds."""
        workers = workers or _cpus()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="hashing")
        self._places = Semaphore(workers + (4 * workers if queue is None else queue))
        self._patience = patience

    async def hash(self, password: str) -> str:
        """What `hash_password` answers. Raises HashingBusy."""
        return await self.run(hash_password, password)

    async def hash_new(self, password: str, *, pointer: str, about: Iterable[str | None]) -> str:
        """The hash of a password that `refuse_weak` lets pass. Raises InvalidInput or HashingBusy."""
        return await self.run(_hash_new, password, pointer=pointer, about=about)

    async def verify(self, password: str, stored: str | None) -> Verdict:
        """What `verify_password` answers. Raises HashingBusy."""
        return await self.run(verify_password, password, stored)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` answers, in a thread of the lane.

        A caller that is cancelled gives up its place: at once while it waits, else when its work is done.

        Raises:
            HashingBusy: the queue is full, or does not move.
        """
        if not self._places.acquire(blocking=False):
            raise HashingBusy
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


def _hash_new(password: str, *, pointer: str, about: Iterable[str | None]) -> str:
    refuse_weak(password, pointer=pointer, about=about)
    return hash_password(password)


def _cpus() -> int:
    """Those this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
