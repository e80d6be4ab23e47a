"""One cache, and threads that ask, keep, forget and look at the same time."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import product

import pytest

from app.identity import principal_cache
from app.identity.principal_cache import PrincipalCache
from tests.support.principals import digest, principal

SECONDS = 0.6
USERS, TOKENS = range(3), range(2)
LONG = 1e6


@pytest.fixture(autouse=True)
def quick_switches() -> Iterator[None]:
    """Threads take turns as often as the interpreter lets them."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


class World:
    """Users who change all the time: their version is the credential's id of a principal."""

    def __init__(self) -> None:
        self.cache = PrincipalCache(lambda _: True)
        self.versions = dict.fromkeys(USERS, 0)
        self.heard = dict.fromkeys(USERS, 0)
        self.stale: list[str] = []
        self.hits = 0

    def change(self) -> None:
        for user_id in USERS:
            self.versions[user_id] += 1
            if self.versions[user_id] % 5:
                self.cache.forget(user_id)
            else:
                self.cache.forget_everybody()
            self.heard[user_id] = self.versions[user_id]

    def resolve(self, token: int) -> None:
        for user_id in USERS:
            question = self.cache.ask(0)
            answer = principal(user_id, credential_id=self.versions[user_id])
            self.cache.keep(digest((user_id, token)), question, answer, LONG)

    def look(self) -> None:
        for user_id, token in product(USERS, TOKENS):
            at_least = self.heard[user_id]
            found = self.cache.get(digest((user_id, token)), 0)
            if found is not None:
                self.hits += 1
                if found.credential_id < at_least:
                    self.stale.append(f"{found.credential_id} after {at_least}")
        self.cache.take_uses()


def side_by_side(*works: Callable[[], None]) -> None:
    """Do each again and again, in a thread of its own."""
    end = time.monotonic() + SECONDS

    def repeat(work: Callable[[], None]) -> None:
        while time.monotonic() < end:
            work()

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("room", [4, 1000])
def test_nobody_sees_what_was_forgotten(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(principal_cache, "MAX_ENTRIES", room)
    world = World()
    cache = world.cache
    side_by_side(world.change, world.look, *(lambda token=token: world.resolve(token) for token in TOKENS))
    assert min(world.versions.values()) > 10
    assert world.hits > 10
    assert world.stale == []
    for user_id in USERS:
        cache.forget(user_id)
    assert (len(cache), cache._digests, cache._weight) == (0, {}, 0)  # noqa: SLF001
