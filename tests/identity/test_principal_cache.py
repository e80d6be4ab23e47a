"""What is kept of the database's answers, for how long, and how much of it."""

import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from app.identity import principal_cache
from app.identity.permissions import CredentialKind
from app.identity.principal import Principal
from app.identity.principal_cache import PrincipalCache, Use
from tests.support.principals import digest, principal

LONG = 1e6
NOW = 100.0


def keep(cache: PrincipalCache, name: object, what: Principal, lives_for: float = LONG) -> None:
    cache.keep(digest(name), cache.ask(NOW), what, lives_for)


def knows(cache: PrincipalCache, name: object, now: float = NOW) -> bool:
    return cache.get(digest(name), now) is not None


@pytest.fixture
def cache() -> PrincipalCache:
    return PrincipalCache(lambda _: True)


@contextmanager
def limits(**values: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setattr(principal_cache, name, value)
        yield


def holds_nothing(cache: PrincipalCache) -> bool:
    """Also of what it keeps to find, weigh and forget its entries."""
    return not (cache._entries or cache._digests or cache._weight)  # noqa: SLF001


class TestWhatIsKnown:
    def test_a_token_that_was_kept(self, cache: PrincipalCache) -> None:
        ann = principal()
        keep(cache, "token", ann)
        assert cache.get(digest("token"), NOW) is ann
        assert not knows(cache, "another")

    def test_it_ends_with_the_credential(self, cache: PrincipalCache) -> None:
        """Which is as old as when the database was asked, not as when it answered."""
        keep(cache, "token", principal(), lives_for=10)
        assert knows(cache, "token", NOW + 9.99)
        assert not knows(cache, "token", NOW + 10)

    def test_nothing_while_revocations_are_not_heard(self) -> None:
        heard = Counter[float]()
        cache = PrincipalCache(lambda now: heard[now] > 0)
        keep(cache, "token", principal())
        assert not knows(cache, "token")
        heard[NOW] += 1
        assert knows(cache, "token")
        assert not knows(cache, "token", NOW + 1)

    def test_nothing_is_unless_somebody_listens(self) -> None:
        cache = PrincipalCache()
        keep(cache, "token", principal())
        assert not knows(cache, "token")

    def test_nothing_that_is_forgotten_while_the_listener_catches_up(self, cache: PrincipalCache) -> None:
        """A thread of its own does: it may forget the user, and be current, between any two steps of the reader."""
        keep(cache, "token", principal())

        def catch_up(_: float) -> bool:
            cache.forget(1)
            return True

        cache.is_current = catch_up
        assert not knows(cache, "token")


class TestForgetting:
    def test_all_tokens_of_a_user_and_no_others(self, cache: PrincipalCache) -> None:
        for name, user_id in (("first", 1), ("second", 1), ("other", 2)):
            keep(cache, name, principal(user_id))
        cache.forget(1)
        assert [knows(cache, name) for name in ("first", "second", "other")] == [False, False, True]
        cache.forget_everybody()
        assert not knows(cache, "other")
        assert holds_nothing(cache)

    def test_an_answer_from_before_is_not_kept(self, cache: PrincipalCache) -> None:
        before = cache.ask(NOW)
        cache.forget(1)
        cache.keep(digest("stale"), before, principal(1), LONG)
        cache.keep(digest("other"), before, principal(2), LONG)
        cache.keep(digest("fresh"), cache.ask(NOW), principal(1), LONG)
        assert [knows(cache, name) for name in ("stale", "other", "fresh")] == [False, True, True]

    def test_nor_is_anybodys_when_everybody_was_forgotten(self, cache: PrincipalCache) -> None:
        before = cache.ask(NOW)
        cache.forget_everybody()
        cache.keep(digest("stale"), before, principal(1), LONG)
        assert not knows(cache, "stale")
        keep(cache, "fresh", principal(1))
        assert knows(cache, "fresh")

    def test_more_revocations_than_it_remembers(self, cache: PrincipalCache) -> None:
        """In doubt an answer is not kept."""
        before = cache.ask(NOW)
        with limits(_MAX_REMEMBERED=10):
            for user_id in range(11):
                cache.forget(user_id)
                assert len(cache._forgotten) <= 10  # noqa: SLF001
            after = cache.ask(NOW)
            cache.forget(99)
        for user_id in (0, 10, 50):
            cache.keep(digest(user_id), before, principal(user_id), LONG)
            assert not knows(cache, user_id)
        cache.keep(digest("other"), after, principal(50), LONG)
        assert knows(cache, "other")

    def test_a_token_that_changed_its_user(self, cache: PrincipalCache) -> None:
        keep(cache, "token", principal(1))
        keep(cache, "token", principal(2))
        cache.forget(1)
        assert knows(cache, "token")
        cache.forget(2)
        assert holds_nothing(cache)


class TestBounds:
    def test_how_many(self, cache: PrincipalCache) -> None:
        with limits(MAX_ENTRIES=10):
            for number in range(100):
                keep(cache, number, principal(number))
        assert [number for number in range(100) if knows(cache, number)] == list(range(90, 100))

    def test_what_is_used_stays(self, cache: PrincipalCache) -> None:
        with limits(MAX_ENTRIES=10):
            for number in range(100):
                assert number == 0 or knows(cache, 0)
                keep(cache, number, principal(number))

    def test_all_of_them_are_used(self, cache: PrincipalCache) -> None:
        with limits(MAX_ENTRIES=10):
            for number in range(10):
                keep(cache, number, principal(number))
            assert all(knows(cache, number) for number in range(10))
            keep(cache, "new", principal())
        assert [knows(cache, name) for name in (0, 1, "new")] == [False, True, True]

    def test_evicting_holds_nobody_up(self, cache: PrincipalCache) -> None:
        """A full cache of which everything was used since is gone through once, not once for each hole in it."""
        for number in range(principal_cache.MAX_ENTRIES):
            keep(cache, number, principal(number))
        took = []
        for name in ("a", "b", "c"):
            for entry in cache._entries.values():  # noqa: SLF001
                entry.is_recent = True
            began = time.thread_time()
            keep(cache, name, principal())
            took.append(time.thread_time() - began)
        assert min(took) < 0.025

    def test_how_much(self, cache: PrincipalCache) -> None:
        with limits(MAX_WEIGHT=100_000):
            for number in range(100):
                keep(cache, number, principal(number, preferences={"note": "x" * 10_000}))
        assert [number for number in range(100) if knows(cache, number)] == list(range(92, 100))

    def test_too_much_for_it_alone(self, cache: PrincipalCache) -> None:
        with limits(MAX_WEIGHT=100_000):
            keep(cache, "small", principal(1))
            keep(cache, "huge", principal(2, preferences={"note": "x" * 100_000}))
        assert [knows(cache, name) for name in ("small", "huge")] == [True, False]

    @pytest.mark.parametrize(
        "make",
        [
            dict,
            lambda: {"a": [[] for _ in range(20_000)]},
            lambda: {"a": [{"a": {}} for _ in range(7_000)]},
            lambda: {"a": [[[[[[]]]]] for _ in range(6_000)]},
            lambda: {f"key {number}": number + 0.5 for number in range(4_000)},
            lambda: {"a": ["".join(("x", str(number))) for number in range(8_000)]},
        ],
        ids=["none", "lists", "objects", "nested", "numbers", "texts"],
    )
    def test_the_weight_is_what_is_held(self, cache: PrincipalCache, make: Any) -> None:
        """Small values take many times the memory of their text."""
        tracemalloc.start()
        try:
            for number in range(5):
                keep(cache, number, principal(number, preferences=make()))
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 1.5 * cache._weight  # noqa: SLF001


class TestUses:
    @staticmethod
    def use(credential_id: int, at: float) -> Use:
        return Use(CredentialKind.SESSION, credential_id, at)

    def test_each_is_told_once(self, cache: PrincipalCache) -> None:
        keep(cache, "first", principal(1, 11))
        keep(cache, "second", principal(2, 22))
        assert cache.take_uses() == []
        assert knows(cache, "first", NOW + 1)
        assert knows(cache, "first", NOW + 2)
        assert cache.take_uses() == [self.use(11, NOW + 2)]
        assert cache.take_uses() == []

    @pytest.mark.parametrize("how", ["forgotten", "everybody forgotten", "evicted", "kept anew"])
    def test_also_of_what_is_no_more(self, cache: PrincipalCache, how: str) -> None:
        keep(cache, "token", principal(1, 11))
        assert knows(cache, "token")
        if how == "forgotten":
            cache.forget(1)
        elif how == "everybody forgotten":
            cache.forget_everybody()
        elif how == "evicted":
            with limits(MAX_ENTRIES=1):
                keep(cache, "other", principal(2, 22))
        else:
            keep(cache, "token", principal(1, 11))
        assert cache.take_uses() == [self.use(11, NOW)]
        assert cache.take_uses() == []

    def test_of_what_was_never_kept(self, cache: PrincipalCache) -> None:
        cache.note_use(principal(1, 11), NOW)
        cache.note_use(principal(1, 11), NOW + 1)
        assert cache.take_uses() == [self.use(11, NOW + 1)]
        assert cache.take_uses() == []
