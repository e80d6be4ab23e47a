"""People who fail to sign in, each attempt in a transaction of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import Engine, create_engine, text

from app.core.errors import TooManyAttempts
from app.identity.throttle import Attempt, begin_anonymous, begin_attempt, remember_address, succeeded
from app.web.session import transaction

HOME, CAFE, LAIR = "192.0.2.1", "198.51.100.7", "203.0.113.9"
PER_ACCOUNT, PER_NETWORK = 5, 20


@contextmanager
def replica(url: str) -> Iterator[Engine]:
    engine = create_engine(url, pool_size=40)
    yield engine
    engine.dispose()


def begin(engine: Engine, name: str = "nobody", address: str | None = LAIR, user_id: int | None = None) -> Attempt:
    with transaction(engine) as session:
        return begin_attempt(session, name, address, user_id)


def begin_nameless(engine: Engine, address: str | None = LAIR) -> Attempt:
    with transaction(engine) as session:
        return begin_anonymous(session, address)


def fail(
    engine: Engine, times: int, name: str = "nobody", address: str | None = LAIR, user_id: int | None = None
) -> None:
    for _ in range(times):
        begin(engine, name, address, user_id)


def refused(engine: Engine, name: str = "nobody", address: str | None = LAIR, user_id: int | None = None) -> int:
    """The seconds to wait."""
    with pytest.raises(TooManyAttempts) as refusal:
        begin(engine, name, address, user_id)
    return refusal.value.retry_after


def refused_nameless(engine: Engine, address: str | None = LAIR) -> int:
    """The seconds to wait."""
    with pytest.raises(TooManyAttempts) as refusal:
        begin_nameless(engine, address)
    return refusal.value.retry_after


def succeed(engine: Engine, name: str = "nobody", address: str | None = LAIR, user_id: int | None = None) -> None:
    attempt = begin(engine, name, address, user_id)
    with transaction(engine) as session:
        succeeded(session, attempt)


def remember(engine: Engine, user_id: int, address: str | None) -> None:
    with transaction(engine) as session:
        remember_address(session, user_id, address)


def exhaust_network(engine: Engine, address: str | None, times: int = PER_NETWORK) -> None:
    for number in range(times):
        begin(engine, f"name {number}", address)


def let_pass(engine: Engine, time: timedelta) -> None:
    """The rows as they will look to somebody who comes later."""
    earlier = ("last_failed_at = last_failed_at - :time", "blocked_until = blocked_until - :time")
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE throttled_keys SET {', '.join(earlier)}"), {"time": time})


def rows(engine: Engine) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT * FROM throttled_keys ORDER BY key"))]
