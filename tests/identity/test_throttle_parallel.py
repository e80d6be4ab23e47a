"""Attempts at the same moment, each on a connection of its own, half of them from another replica."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import product
from threading import Barrier

import pytest
from sqlalchemy import Engine

from app.core.errors import TooManyAttempts
from tests.support.identity import add_user
from tests.support.throttle import (
    CAFE,
    HOME,
    LAIR,
    PER_ACCOUNT,
    PER_NETWORK,
    begin,
    fail,
    let_pass,
    remember,
    replica,
    rows,
    succeed,
)


def outcomes(url: str, attempts: Sequence[Callable[[Engine], object]]) -> Counter[bool]:
    """How many were admitted, and how many not."""
    barrier = Barrier(len(attempts))

    def run(engine: Engine, attempt: Callable[[Engine], object]) -> bool:
        barrier.wait(30)
        try:
            attempt(engine)
        except TooManyAttempts:
            return False
        return True

    with replica(url) as one, replica(url) as other, ThreadPoolExecutor(len(attempts)) as pool:
        engines = [one if number % 2 else other for number in range(len(attempts))]
        return Counter(pool.map(run, engines, attempts))


@pytest.mark.parametrize("known", [False, True])
def test_thirty_guesses_at_an_account(engine: Engine, url: str, ann: int, known: bool) -> None:
    if known:
        remember(engine, ann, LAIR)
    guesses = [lambda engine: begin(engine, user_id=ann)] * 30
    assert outcomes(url, guesses) == {True: PER_ACCOUNT, False: 30 - PER_ACCOUNT}


def test_thirty_guesses_from_as_many_networks(url: str, ann: int) -> None:
    guesses = [lambda engine, last=last: begin(engine, "ann", f"192.0.2.{last}", ann) for last in range(30)]
    assert outcomes(url, guesses) == {True: PER_ACCOUNT, False: 30 - PER_ACCOUNT}


def test_twenty_five_accounts_from_one_network(engine: Engine, url: str) -> None:
    users = [add_user(url, f"user{number}@example.test") for number in range(25)]
    guesses = [lambda engine, user=user: begin(engine, f"user{user}", user_id=user) for user in users]
    assert outcomes(url, guesses) == {True: PER_NETWORK, False: 5}
    assert Counter(row[1] for row in rows(engine)) == {1: PER_NETWORK, PER_NETWORK: 1}


def test_after_a_wait_one_gets_through(engine: Engine, url: str, ann: int) -> None:
    fail(engine, PER_ACCOUNT, user_id=ann)
    let_pass(engine, timedelta(seconds=30))
    guesses = [lambda engine: begin(engine, user_id=ann)] * 12
    assert outcomes(url, guesses) == {True: 1, False: 11}


def test_nobody_waits_in_a_circle(engine: Engine, url: str) -> None:
    """Networks and accounts cross, so that one's first row is another's second."""
    users = [add_user(url, f"user{number}@example.test") for number in range(4)]

    def sign_in_often(engine: Engine, user: int, address: str) -> None:
        for _ in range(10):
            succeed(engine, f"user{user}", address, user)

    pairs = [*product(users, (HOME, CAFE, LAIR))]
    work = [lambda engine, pair=pair: sign_in_often(engine, *pair) for pair in pairs]
    admitted = outcomes(url, work)
    assert admitted.total() == len(pairs)
    assert all(row[1] == 0 for row in rows(engine)), "what succeeded is counted nowhere"
