"""What may keep a replica from hearing of revocations, done to it again and again."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import text

from app.db.embedded.cluster import Cluster
from app.db.engine import application_name, connect

LISTENERS = "SELECT pid FROM pg_stat_activity WHERE application_name = :name ORDER BY pid"
POLL = 0.05
BACK = 15.0
"""Seconds within which a replica listens again, at most."""

Disturb = Callable[[str], None]
"""Does it once to whatever listens at this address."""


class Disturbance(NamedTuple):
    name: str
    disturb: Disturb
    quiet: tuple[float, float]
    """Seconds between one and the next, at least and at most."""


class Times:
    """How often it was done."""

    count = 0


def listeners(url: str) -> list[int]:
    """The processes of the server that notify the replicas."""
    with connect(url) as connection:
        return list(connection.scalars(text(LISTENERS), {"name": application_name("listener")}))


@contextmanager
def disturbed(url: str, disturbance: Disturbance) -> Iterator[Times]:
    """Do it at random intervals, in a thread of its own."""
    stop, times = threading.Event(), Times()

    def repeat() -> None:
        while not stop.wait(random.uniform(*disturbance.quiet)):
            disturbance.disturb(url)
            times.count += 1

    with ThreadPoolExecutor(1) as pool:
        repeated = pool.submit(repeat)
        try:
            yield times
        finally:
            stop.set()
        repeated.result()


def kill_listeners(url: str) -> None:
    pids = _listeners_again(url)
    time.sleep(random.uniform(0, 1))
    with connect(url) as connection:
        for pid in pids:
            connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})


def restart_database(url: str) -> None:
    """The embedded server in its data folder."""
    with connect(url) as connection:
        folder = Path(connection.execute(text("SHOW data_directory")).scalar_one())
    cluster = Cluster(folder, {})
    cluster.prepare_parent()
    cluster.ensure_socket_folder()
    cluster.shut_down()
    cluster.ensure_socket_folder()
    cluster.connect().close()


def pause_notifications(url: str) -> None:
    """The processes that would pass them on stand still for some seconds, while their connections stay."""
    pids = _listeners_again(url)
    try:
        _signal(pids, signal.SIGSTOP)
        time.sleep(random.uniform(0.2, 4))
    finally:
        _signal(pids, signal.SIGCONT)


def _listeners_again(url: str) -> list[int]:
    """As soon as there are some."""
    deadline = time.monotonic() + BACK
    while not (pids := listeners(url)):
        if time.monotonic() > deadline:
            raise RuntimeError("no replica listens any more")
        time.sleep(POLL)
    return pids


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


DISTURBANCES = (
    Disturbance("every listener killed", kill_listeners, (0, 0.5)),
    Disturbance("database restarted", restart_database, (0.5, 4)),
    Disturbance("notifications paused", pause_notifications, (0.3, 1.5)),
)
