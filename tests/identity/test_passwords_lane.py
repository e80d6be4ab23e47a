"""The lane: as many hashes at once as there are workers, a short queue, and nobody else waits."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import argon2
import pytest
from anyio.to_thread import current_default_thread_limiter

from app.core.errors import InvalidInput
from app.identity.passwords import NICENESS, HashingBusy, HashingLane, Verdict, hash_password

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse battery staple"


class Works:
    """Work that goes on until it is let go, and counts itself."""

    def __init__(self) -> None:
        self.running = self.most = self.done = 0
        self._lock = threading.Lock()
        self._open = threading.Event()

    def __call__(self) -> int:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        assert self._open.wait(10)
        with self._lock:
            self.running -= 1
            self.done += 1
            return self.done

    def let_go(self) -> None:
        self._open.set()


@pytest.fixture
def works() -> Iterator[Works]:
    works = Works()
    yield works
    works.let_go()


async def until(condition: Callable[[], object]) -> None:
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.002)
    pytest.fail("it never happened")


async def flood(lane: HashingLane, works: Works, tasks: int) -> list[asyncio.Task[int]]:
    """As many tasks, begun, with those refused that there is no place for."""
    begun = [asyncio.create_task(lane.run(works)) for _ in range(tasks)]
    await until(lambda: works.running)
    return begun


async def outcomes(tasks: list[asyncio.Task[int]]) -> tuple[int, int]:
    """How many were done, and how many refused."""
    results = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [result for result in results if isinstance(result, HashingBusy)]
    done = [result for result in results if isinstance(result, int)]
    assert len(refused) + len(done) == len(results)
    return len(done), len(refused)


async def test_a_flood_is_refused_from_the_first_one_too_many(works: Works) -> None:
    tasks = await flood(HashingLane(workers=1, queue=4), works, 20)
    await until(lambda: sum(task.done() for task in tasks) == 15)
    works.let_go()
    assert await outcomes(tasks) == (5, 15)
    assert works.most == 1


async def test_it_is_as_wide_as_the_cpus_this_process_may_use(monkeypatch: pytest.MonkeyPatch, works: Works) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 4}, raising=False)
    tasks = await flood(HashingLane(), works, 20)
    await until(lambda: works.running == 3)
    works.let_go()
    assert await outcomes(tasks) == (15, 5)
    assert works.most == 3


async def test_where_affinity_is_unknown_all_cpus_count(monkeypatch: pytest.MonkeyPatch, works: Works) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    tasks = await flood(HashingLane(), works, 6)
    works.let_go()
    assert await outcomes(tasks) == (5, 1)


async def test_places_are_given_back() -> None:
    lane = HashingLane(workers=1, queue=1)
    for _ in range(3):
        works = Works()
        tasks = await flood(lane, works, 4)
        await until(lambda: sum(task.done() for task in tasks) == 2)  # noqa: B023 - awaited here
        works.let_go()
        assert await outcomes(tasks) == (2, 2)


async def test_nobody_waits_for_long(works: Works) -> None:
    lane = HashingLane(workers=1, queue=1, patience=0.05)
    [first, second] = await flood(lane, works, 2)
    with pytest.raises(HashingBusy) as refused:
        await second
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "2"})
    third = asyncio.create_task(lane.run(works))
    await asyncio.sleep(0)
    works.let_go()
    assert await outcomes([first, third]) == (2, 0)


async def test_patience_is_for_the_queue_not_for_the_work() -> None:
    lane = HashingLane(workers=1, queue=0, patience=0.01)
    await lane.run(time.sleep, 0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is the process that has a priority")
async def test_the_event_loop_goes_first() -> None:
    both = threading.Barrier(2)

    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def niceness_of_each() -> int:
        both.wait(10)
        return niceness()

    usual, lane = niceness(), HashingLane(workers=2)
    found = await asyncio.gather(*(lane.run(niceness_of_each) for _ in range(2)))
    assert found == [min(usual + NICENESS, 19)] * 2
    assert niceness() == usual
    lane.close()


async def test_it_tells_when_it_is_full(works: Works) -> None:
    lane = HashingLane(workers=1, queue=1)
    for _ in range(3):
        lane.refuse_when_full()
    tasks = await flood(lane, works, 2)
    with pytest.raises(HashingBusy):
        lane.refuse_when_full()
    works.let_go()
    assert await outcomes(tasks) == (2, 0)
    lane.refuse_when_full()


async def test_a_client_that_leaves_the_queue_frees_its_place(works: Works) -> None:
    lane = HashingLane(workers=1, queue=1)
    [first, waiting] = await flood(lane, works, 2)
    with pytest.raises(HashingBusy):
        await lane.run(works)
    waiting.cancel()
    await asyncio.wait([waiting])
    another = asyncio.create_task(lane.run(works))
    await asyncio.sleep(0)
    with pytest.raises(HashingBusy):
        await lane.run(works)
    works.let_go()
    assert await outcomes([first, another]) == (2, 0)
    assert works.done == 2


async def test_a_client_that_leaves_while_its_hash_runs_keeps_its_place_until_that_ends(works: Works) -> None:
    lane = HashingLane(workers=1, queue=1)
    [running] = await flood(lane, works, 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    following = asyncio.create_task(lane.run(works))
    await asyncio.sleep(0.02)
    with pytest.raises(HashingBusy):
        await lane.run(works)
    works.let_go()
    assert await following == 2
    assert works.most == 1


async def test_an_error_is_the_callers_and_frees_the_place() -> None:
    lane = HashingLane(workers=1, queue=0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await lane.run(divmod, 1, 0)


async def test_other_work_has_threads_of_its_own(works: Works) -> None:
    tasks = await flood(HashingLane(workers=2, queue=2), works, 4)
    assert current_default_thread_limiter().borrowed_tokens == 0
    works.let_go()
    assert await outcomes(tasks) == (4, 0)


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many Argon2 verifications ran at any begin of one."""
    running: list[int] = []
    at_once: list[int] = []
    verify_secret = argon2.low_level.verify_secret

    def counting(*args: Any) -> bool:
        running.append(1)
        at_once.append(len(running))
        try:
            return verify_secret(*args)
        finally:
            running.pop()

    with monkeypatch.context() as patch:
        patch.setattr(argon2.low_level, "verify_secret", counting)
        yield at_once


async def test_a_flood_of_sign_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by the hashes that run at once, and the event loop goes on."""
    lane = HashingLane(workers=2, queue=2)
    stored = await lane.hash(PASSWORD)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.002)
            ticks += 1

    ticking = asyncio.create_task(tick())
    with counted(monkeypatch) as at_once:
        verdicts = await asyncio.gather(*(lane.verify(PASSWORD, stored) for _ in range(20)), return_exceptions=True)
    ticking.cancel()
    assert verdicts.count(Verdict(matches=True, rehash=False)) == 4
    assert sum(isinstance(verdict, HashingBusy) for verdict in verdicts) == 16
    assert (len(at_once), max(at_once)) == (4, 2)
    assert ticks > 10


async def test_a_new_password_is_held_to_the_policy_before_it_is_hashed() -> None:
    lane = HashingLane(workers=1, queue=0)
    with pytest.raises(InvalidInput) as refused:
        await lane.hash_new("Ann.Leeuwenhoek", pointer="/new_password", about=["Ann Leeuwenhoek"])
    assert [(error.pointer, error.code) for error in refused.value.errors] == [("/new_password", "password_too_weak")]
    hashed = await lane.hash_new(PASSWORD, pointer="/new_password", about=[None])
    assert (await lane.verify(PASSWORD, hashed)).matches


def test_first_uses_by_several_threads() -> None:
    with ThreadPoolExecutor(2) as pool:
        hashes = list(pool.map(hash_password, [PASSWORD] * 2))
    assert len(set(hashes)) == 2
