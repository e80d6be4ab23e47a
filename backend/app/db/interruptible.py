"""A connection of one thread whose every wait is bounded, and ends when another thread says so."""

import os
import select
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, Final

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_WRITE

from app.db.engine import connect_args, make_engine

PATIENCE: Final = 5.0
"""Seconds for a connection, and for an answer on it."""


class Unanswered(Exception):
    """The text says so."""


class Interrupted(BaseException):
    """The thread is to end, whatever exceptions it bears otherwise."""


class Waker:
    """Ends the waits of a thread: `wake` the current or the next one, `interrupt` all."""

    def __init__(self) -> None:
        self._heard, self._told = os.pipe()

    def wake(self) -> None:
        """Not after `interrupt`, and not again and again before the thread has waited: what is written stays."""
        os.write(self._told, b".")

    def interrupt(self) -> None:
        os.close(self._told)

    def close(self) -> None:
        """Once nobody waits any more."""
        os.close(self._heard)

    def wait(self, seconds: float, descriptor: int | None = None, event: int = select.POLLIN) -> bool:
        """Whether the descriptor is ready; when woken, perhaps not.

        Raises:
            Interrupted: now, or at any time before.
        """
        # Not select.select(): a process with a thousand connections has descriptors that it cannot take.
        poll = select.poll()
        poll.register(self._heard, select.POLLIN)
        if descriptor is not None:
            poll.register(descriptor, event)
        ready = {each for each, _ in poll.poll(max(0.0, seconds) * 1000)}
        if self._heard in ready and not os.read(self._heard, 4096):
            raise Interrupted
        return descriptor in ready


class InterruptibleConnection:
    """Each statement is a transaction of its own; any method may raise Interrupted."""

    def __init__(self, driver: Any, waker: Waker) -> None:
        self._driver = driver
        self._waker = waker

    @property
    def backend(self) -> int:
        """The process that serves it, as that said itself when it was connected to."""
        pid: int = self._driver.get_backend_pid()
        return pid

    def finish(self) -> None:
        """Wait for the connection, or for the answer to a query.

        Raises:
            Unanswered: neither came within PATIENCE.
            psycopg2.Error: it was refused, or is lost.
        """
        deadline = time.monotonic() + PATIENCE
        while (state := self._driver.poll()) != POLL_OK:
            if (left := deadline - time.monotonic()) <= 0:
                raise Unanswered("the database does not answer")
            self._wait(left, select.POLLOUT if state == POLL_WRITE else select.POLLIN)

    def execute(self, query: str) -> list[tuple[Any, ...]]:
        """The rows, if it has any; raises as `finish` does."""
        cursor = self._driver.cursor()
        cursor.execute(query)
        self.finish()
        return cursor.fetchall() if cursor.description else []

    def arrived(self) -> list[tuple[str, str]]:
        """The notifications received since this was asked last, each with its channel, in the order of commits."""
        notifies = self._driver.notifies
        arrived, notifies[:] = [(each.channel, each.payload) for each in notifies], []
        return arrived

    def receive_within(self, seconds: float) -> bool:
        """Whether something came; raises as `finish` does."""
        came = self._wait(seconds)
        if came:
            self._driver.poll()
        return came

    def close(self) -> None:
        self._driver.close()

    def _wait(self, seconds: float, event: int = select.POLLIN) -> bool:
        return self._waker.wait(seconds, self._driver.fileno(), event)


@contextmanager
def interruptible(url: str, waker: Waker, purpose: str) -> Iterator[InterruptibleConnection]:
    """Connected, for as long as the context lasts; raises as `finish` does."""
    with closing(_connected(url, waker, purpose)) as connection:
        yield connection


def _connected(url: str, waker: Waker, purpose: str) -> InterruptibleConnection:
    """To the first host that answers."""
    *others, last = _targets(url, purpose)
    for target in others:
        with suppress(psycopg2.Error, Unanswered):
            return _connect(target, waker)
    return _connect(last, waker)


def _connect(target: dict[str, Any], waker: Waker) -> InterruptibleConnection:
    connection = InterruptibleConnection(psycopg2.connect(**target, async_=True), waker)
    try:
        connection.finish()
    except BaseException:
        connection.close()
        raise
    return connection


def _targets(url: str, purpose: str) -> list[dict[str, Any]]:
    """What to connect with, for each host of the address: libpq goes on to the next only where it may block."""
    engine = make_engine(url, pooled=False)
    _, found = engine.dialect.create_connect_args(engine.url)
    options = {**found, **connect_args(purpose)}
    hosts, ports = (str(options.get(name, "")).split(",") for name in ("host", "port"))
    if len(hosts) == 1:
        return [options]
    return [options | {"host": host, "port": port} for host, port in zip(hosts, ports, strict=True)]
