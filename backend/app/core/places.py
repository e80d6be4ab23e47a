"""Threads for work that may hang."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread

T = TypeVar("T")


class Places:
    """So many threads and no more. Whoever waits for one may leave; the work keeps its place until it is through."""

    def __init__(self, count: int) -> None:
        self._taken = CapacityLimiter(count)
        self._threads = CapacityLimiter(count)

    async def run(self, work: Callable[[], T]) -> T:
        """What the work answers; waits for a place first."""
        place = object()
        await self._taken.acquire_on_behalf_of(place)
        task = asyncio.create_task(to_thread.run_sync(work, limiter=self._threads))
        task.add_done_callback(partial(self._leave, place))
        return await asyncio.shield(task)

    def _leave(self, place: object, task: asyncio.Task[Any]) -> None:
        self._taken.release_on_behalf_of(place)
        take_note(task)


def take_note(task: asyncio.Task[Any]) -> None:
    """Of how it ended: whoever waits for it raises that; where nobody does, it is of no interest."""
    if not task.cancelled():
        task.exception()
