"""Notifications (LISTEN) on a connection of their own, and a lease that says how current they are."""

import logging
import os
import secrets
import select
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_WRITE
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.db.engine import connect, connect_args, make_engine

log = logging.getLogger(__name__)

PROOF_INTERVAL: Final = 0.25
LEASE: Final = 0.75
"""Seconds for which nothing can have been missed, from when a proof was sent that was heard; below the second within
which a revocation has to be heeded."""

_PATIENCE: Final = 5.0
"""Seconds for a connection, and for an answer on it."""

_MAX_PAUSE: Final = 5.0


class Unsuitable(Exception):
    """What keeps this connection from hearing everything; the text says what to do about it."""


class _Stopped(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Channel:
    name: str
    guard: str
    """SQL that is true as long as whatever should notify the channel does."""
    unguarded: str
    """What to say where it is not."""


class Hearing(NamedTuple):
    """The state of a listener, for the health report."""

    current: bool
    detail: str | None
    """What is wrong, where it is not current."""
    lag: float | None
    """Seconds from the sending of the last proof to its being heard."""


class Listener:
    """Hears a channel in a thread of its own.

    Four times a second it sends a notification to itself. They arrive in the order of the commits, so once it is
    heard, so is all that was committed before it was sent. While that is not proved, `is_current` is False, whatever
    may be the reason: the connection, the server, or this thread is stuck or gone.
    """

    def __init__(
        self, url: str, channel: Channel, hear: Callable[[str], None], missed: Callable[[], None], *, via: str
    ) -> None:
        """Not started yet.

        Args:
            url: Where to listen; not behind a pooler in transaction mode.
            channel: What to listen to.
            hear: Is told each notification, in the thread of the listener; must not raise.
            missed: Is called before anything is heard on a new connection.
            via: Where requests are answered from; has to be the same database.
        """
        self._url, self._via = url, via
        self._channel = channel
        self._hear, self._missed = hear, missed
        self._proofs = f"{channel.name}_{secrets.token_hex(8)}"
        self._current_until = 0.0
        self._lag: float | None = None
        self._detail: str | None = "not connected yet"
        self._proved_at = 0.0
        self._proved = threading.Condition()
        self._wake, self._waker = os.pipe()
        self._is_open = True
        self._is_asked = False
        self._thread = threading.Thread(target=self._run, name=channel.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        with self._proved:
            self._is_open = False
            os.close(self._waker)
        self._thread.join()
        self._current_until = 0.0
        os.close(self._wake)

    def is_current(self, now: float) -> bool:
        """Whether everything committed up to a second before `now`, by the monotonic clock, has been heard."""
        return now < self._current_until

    def catch_up(self, timeout: float) -> None:
        """Wait until everything committed before this call has been heard, or until it is certain that it may not be.

        Args:
            timeout: Seconds; later the lease has run out anyway.
        """
        began = time.monotonic()
        with self._proved:
            if not self._is_open:
                return
            os.write(self._waker, b".")
            self._proved.wait_for(lambda: self._proved_at >= began or not self.is_current(time.monotonic()), timeout)

    @property
    def hearing(self) -> Hearing:
        return Hearing(self.is_current(time.monotonic()), self._detail, self._lag)

    def _run(self) -> None:
        pause = PROOF_INTERVAL
        while True:
            began = time.monotonic()
            try:
                self._listen()
            except _Stopped:
                return
            except (psycopg2.Error, DBAPIError, Unsuitable, OSError) as error:
                self._lose(error)
            pause = PROOF_INTERVAL if time.monotonic() - began > _MAX_PAUSE else min(2 * pause, _MAX_PAUSE)
            if self._is_stopped_within(pause):
                return

    def _lose(self, error: Exception) -> None:
        with self._proved:
            self._current_until, self._lag = 0.0, None
            self._proved.notify_all()
        reason = str(error).strip().splitlines()[:1]
        detail = reason[0] if reason else type(error).__name__
        if detail != self._detail:
            log.warning("%s are not heard: %s", self._channel.name, detail)
        self._detail = detail

    def _listen(self) -> None:
        """Until it ends in an exception."""
        with closing(_connection(self._url)) as connection:
            self._finish(connection)
            self._refuse_pooler(connection)
            self._execute(connection, f"LISTEN {self._channel.name}; LISTEN {self._proofs}")
            self._missed()
            self._prove_same_database(connection)
            while True:
                self._is_asked, sent = False, time.monotonic()
                self._prove(connection)
                heard = time.monotonic()
                if self._detail is not None:
                    log.info("%s are heard", self._channel.name)
                with self._proved:
                    self._current_until, self._detail, self._lag = sent + LEASE, None, heard - sent
                    self._proved_at = sent
                    self._proved.notify_all()
                self._hear_until(connection, sent + PROOF_INTERVAL)

    def _refuse_pooler(self, connection: Any) -> None:
        ((pid,),) = self._execute(connection, "SELECT pg_backend_pid()")
        if pid != connection.get_backend_pid():
            raise Unsuitable("LISTEN cannot work behind a pooler: set DATABASE_LISTEN_URL to the server itself")

    def _prove_same_database(self, connection: Any) -> None:
        """Send a proof the way that requests go."""
        proof = secrets.token_hex(8)
        with connect(self._via) as other:
            other.execute(text("SELECT pg_notify(:channel, :proof)"), {"channel": self._proofs, "proof": proof})
            other.commit()
        if not self._await_proof(connection, proof):
            raise Unsuitable("DATABASE_LISTEN_URL leads to another database than DATABASE_URL")

    def _prove(self, connection: Any) -> None:
        proof = secrets.token_hex(8)
        query = f"SELECT pg_notify('{self._proofs}', '{proof}'), ({self._channel.guard})"
        ((_, guarded),) = self._execute(connection, query)
        if not guarded:
            raise Unsuitable(self._channel.unguarded)
        if not self._await_proof(connection, proof):
            raise Unsuitable("a notification did not arrive")

    def _await_proof(self, connection: Any, proof: str) -> bool:
        deadline = time.monotonic() + _PATIENCE
        while proof not in self._take(connection):
            if not self._is_readable_within(connection, deadline - time.monotonic()):
                return False
            connection.poll()
        return True

    def _hear_until(self, connection: Any, deadline: float) -> None:
        while not self._is_asked and (left := deadline - time.monotonic()) > 0:
            if self._is_readable_within(connection, left):
                connection.poll()
                self._take(connection)

    def _take(self, connection: Any) -> list[str]:
        """Pass on what has arrived; the proofs among it."""
        arrived, connection.notifies[:] = list(connection.notifies), []
        for each in arrived:
            if each.channel == self._channel.name:
                self._hear(each.payload)
        return [each.payload for each in arrived if each.channel == self._proofs]

    def _execute(self, connection: Any, query: str) -> list[tuple[Any, ...]]:
        cursor = connection.cursor()
        cursor.execute(query)
        self._finish(connection)
        return cursor.fetchall() if cursor.description else []

    def _finish(self, connection: Any) -> None:
        """Wait for the connection, or for the answer to a query."""
        deadline = time.monotonic() + _PATIENCE
        while (state := connection.poll()) != POLL_OK:
            event = select.POLLOUT if state == POLL_WRITE else select.POLLIN
            if not self._is_ready_within(connection.fileno(), event, deadline - time.monotonic()):
                raise Unsuitable("the database does not answer")

    def _is_readable_within(self, connection: Any, seconds: float) -> bool:
        return self._is_ready_within(connection.fileno(), select.POLLIN, seconds)

    def _is_stopped_within(self, seconds: float) -> bool:
        try:
            self._is_ready_within(None, 0, seconds)
        except _Stopped:
            return True
        return False

    def _is_ready_within(self, descriptor: int | None, event: int, seconds: float) -> bool:
        # Not select.select(): a process with a thousand connections has descriptors that it cannot take.
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if descriptor is not None:
            poll.register(descriptor, event)
        ready = {fd for fd, _ in poll.poll(max(0.0, seconds) * 1000)}
        if self._wake in ready:
            if not os.read(self._wake, 4096):
                raise _Stopped
            self._is_asked = True
        return descriptor in ready


def _connection(url: str) -> Any:
    """One that never blocks, and is not yet connected."""
    engine = make_engine(url, pooled=False)
    arguments, options = engine.dialect.create_connect_args(engine.url)
    return psycopg2.connect(*arguments, **{**options, **connect_args("listener")}, async_=True)
