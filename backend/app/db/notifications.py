"""Notifications (LISTEN) on a connection of their own, and a lease that says how current they are."""

import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import psycopg2

from app.core.clock import steady
from app.db.interruptible import PATIENCE, Interrupted, InterruptibleConnection, Unanswered, Waker, interruptible

log = logging.getLogger(__name__)

PROOF_INTERVAL: Final = 0.25
LEASE: Final = 0.75
"""Seconds for which nothing can have been missed, from when a proof was sent that was heard; below the second within
which a revocation has to be heeded."""

SAME_WAY: Final = 10.0
"""Seconds after which proofs are sent on a new connection, as requests get new ones: the address of the database may
lead elsewhere than it did."""

_NEW_WAY: Final = 1.0
"""As SAME_WAY, since requests got a new one."""

MAX_QUEUE_USAGE: Final = 0.5
"""Of the queue of notifications, where somebody should look who keeps it full; once it is, nothing can be told."""

_MAX_PAUSE: Final = 5.0

_ELSEWHERE: Final = (
    "what is sent the way that requests go does not arrive: DATABASE_LISTEN_URL, or a server in between, leads to "
    "another database than DATABASE_URL"
)


class Unsuitable(Exception):
    """What keeps this connection from hearing everything; the text says what to do about it."""


@dataclass(frozen=True, slots=True)
class Channel:
    name: str
    guard: str
    """SQL: what should notify the channel and does, as a text that changes with it; NULL where something does not."""
    unguarded: str
    """What to say where it is not."""


class Hearing(NamedTuple):
    """The state of a listener, for the health report."""

    current: bool
    detail: str | None
    """What is wrong, where it is not current; None for what nothing is known of, but that no answer came lately."""
    lag: float | None
    """Seconds from the sending of the last proof to its being heard."""


class Listener:
    """Hears a channel in a thread of its own.

    Four times a second it sends a notification to itself, the way that requests go. They arrive in the order of the
    commits, so once it is heard, so is all that was committed before it was sent. While that is not proved,
    `is_current` is False, whatever may be the reason: a connection, the server, or this thread is stuck or gone, or
    requests are answered by another database.
    """

    def __init__(
        self, url: str, channel: Channel, hear: Callable[[str], None], missed: Callable[[], None], *, via: str
    ) -> None:
        """Not started yet.

        Args:
            url: Where to listen; not behind a pooler in transaction mode.
            channel: What to listen to.
            hear: Is told each notification, in the thread of the listener; must not raise.
            missed: Is called before anything is heard on a new connection, and when the guard has changed.
            via: Where requests are answered from; has to be the same database.
        """
        self._url, self._via = url, via
        self._channel = channel
        self._hear, self._missed = hear, missed
        self._proofs = f"{channel.name}_{secrets.token_hex(8)}"
        self._current_until = 0.0
        self._lag: float | None = None
        self._detail: str | None = "not connected yet"
        self._lost_for: str | None = None
        self._guarded_by: str | None = None
        self._is_way_new = False
        self._proved_at = 0.0
        self._not_before = 0.0
        """Proofs that were sent earlier count no more: somebody went on without waiting for one."""
        self._changed = threading.Condition()
        """Of all these; what has it is only ever held for a moment."""
        self._waker = Waker()
        self._is_open = True
        self._is_asked = False
        """Whether somebody waits for a proof that is yet to be sent; the waker was told."""
        self._thread = threading.Thread(target=self._run, name=channel.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        with self._changed:
            self._is_open, self._current_until = False, 0.0
            self._changed.notify_all()
            self._waker.interrupt()
        self._thread.join(PATIENCE)
        if not self._thread.is_alive():  # nothing interrupts it while a host's name is being looked up
            self._waker.close()

    def is_current(self, now: float) -> bool:
        """Whether everything committed up to a second before `now`, by the steady clock, has been heard."""
        return now < self._current_until

    def catch_up(self, timeout: float) -> None:
        """Wait until everything committed before this call has been heard, or until it is certain that it may not be.

        Args:
            timeout: Seconds; later the lease has run out anyway.
        """
        began = steady()
        with self._changed:
            if not self.is_current(began):
                self._not_before = began
                return
            if not self._is_asked:
                self._is_asked = True
                self._waker.wake()
            self._changed.wait_for(lambda: self._proved_at >= began or not self.is_current(steady()), timeout)

    def look_anew(self) -> None:
        """Requests have got a new connection: soon send proofs on a new one as well."""
        self._is_way_new = True

    @property
    def hearing(self) -> Hearing:
        with self._changed:
            return Hearing(self.is_current(steady()), self._detail, self._lag)

    def _run(self) -> None:
        pause = PROOF_INTERVAL
        try:
            while True:
                began = steady()
                try:
                    self._listen()
                except (psycopg2.Error, Unanswered, Unsuitable, OSError) as error:
                    self._lose(error)
                except Exception as error:
                    log.exception("%s are not heard", self._channel.name)
                    self._lose(error)
                pause = PROOF_INTERVAL if steady() - began > _MAX_PAUSE else min(2 * pause, _MAX_PAUSE)
                self._waker.wait(pause)
        except Interrupted:
            return

    def _lose(self, error: Exception) -> None:
        if isinstance(error, (Unanswered, Unsuitable)):
            detail = reason = str(error)
        else:  # whose words are for the log alone: they name roles and hosts
            detail = f"the database gives no answer ({type(error).__name__})"
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if reason != self._lost_for:
            log.warning("%s are not heard: %s", self._channel.name, reason)
        self._lost_for = reason
        with self._changed:
            self._current_until, self._lag, self._detail = 0.0, None, detail
            self._changed.notify_all()

    def _listen(self) -> None:
        """Until it ends in an exception."""
        with interruptible(self._url, self._waker, "listener") as connection:
            ((backend,),) = connection.execute("SELECT pg_backend_pid()")
            if backend != connection.backend:
                raise Unsuitable("LISTEN cannot work behind a pooler: set DATABASE_LISTEN_URL to the server itself")
            connection.execute(f"LISTEN {self._channel.name}; LISTEN {self._proofs}")
            self._guarded_by = None
            while True:
                with interruptible(self._via, self._waker, "listener's proofs") as way:
                    self._prove_for_a_while(connection, way)

    def _prove_for_a_while(self, connection: InterruptibleConnection, way: InterruptibleConnection) -> None:
        """That the way leads to the database where the connection listens."""
        self._is_way_new, began = False, steady()
        while (sent := self._begin_proof()) < began + (_NEW_WAY if self._is_way_new else SAME_WAY):
            self._prove(connection, way)
            self._renew(sent, steady())
            self._hear_until(connection, sent + PROOF_INTERVAL)

    def _begin_proof(self) -> float:
        """When it is sent. Who asks from now on waits for the next one."""
        with self._changed:
            self._is_asked = False
            return steady()

    def _renew(self, sent: float, heard: float) -> None:
        if self._detail is not None:
            log.info("%s are heard", self._channel.name)
        self._lost_for = None
        with self._changed:
            if self._is_open and sent >= self._not_before:
                self._current_until, self._detail, self._lag = sent + LEASE, None, heard - sent
                self._proved_at = sent
                self._changed.notify_all()

    def _prove(self, connection: InterruptibleConnection, way: InterruptibleConnection) -> None:
        proof = secrets.token_hex(8)
        # Asking how full the queue is clears it of what nobody is going to read; where it was full, nothing else does.
        ((guard, *_),) = way.execute(
            f"SELECT ({self._channel.guard})::text, pg_notification_queue_usage(), "
            f"pg_notify('{self._proofs}', '{proof}')"
        )
        if guard is None:
            raise Unsuitable(self._channel.unguarded)
        if guard != self._guarded_by:
            self._missed()
        self._guarded_by = guard
        if not self._hears(connection, proof):
            raise Unsuitable(_ELSEWHERE)

    def _hears(self, connection: InterruptibleConnection, proof: str) -> bool:
        deadline = steady() + PATIENCE
        while proof not in self._take(connection):
            if (left := deadline - steady()) <= 0:
                return False
            connection.receive_within(left)
        return True

    def _hear_until(self, connection: InterruptibleConnection, deadline: float) -> None:
        while not self._is_asked and (left := deadline - steady()) > 0:
            if connection.receive_within(left):
                self._take(connection)

    def _take(self, connection: InterruptibleConnection) -> list[str]:
        """Pass on what has arrived; the proofs among it."""
        arrived = connection.arrived()
        for channel, payload in arrived:
            if channel == self._channel.name:
                self._hear(payload)
        return [payload for channel, payload in arrived if channel == self._proofs]
