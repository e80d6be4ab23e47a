"""A listener and what it passes on; whatever was done to it, it ends at once and leaves nothing."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from app.db.engine import application_name
from app.db.notifications import Channel, Hearing, Listener
from tests.support.chain import execute, fetch

NEWS = Channel("news", "SELECT 'news' WHERE to_regclass('silence') IS NULL", "there is silence")
MISSED = "something was missed"


class Overheard:
    def __init__(self, url: str, via: str, channel: Channel) -> None:
        self.story: list[str] = []
        """What was passed on, in the order of the calls; the calls of `missed` among it."""
        self.listener = Listener(url, channel, self.story.append, lambda: self.story.append(MISSED), via=via)

    @property
    def current(self) -> bool:
        return self.listener.is_current(time.monotonic())

    def becomes(self, *, current: bool, within: float = 10.0) -> Hearing:
        """AssertionError when it does not."""
        deadline = time.monotonic() + within
        while self.current != current:
            assert time.monotonic() < deadline, self.listener.hearing
            time.sleep(0.005)
        return self.listener.hearing

    def says(self, detail: str, within: float = 10.0) -> None:
        """While it is not current for a moment; AssertionError when it does not."""
        deadline = time.monotonic() + within
        while detail not in (self.listener.hearing.detail or ""):
            assert not self.current
            assert time.monotonic() < deadline, self.listener.hearing
            time.sleep(0.005)
        assert self.listener.hearing == Hearing(current=False, detail=self.listener.hearing.detail, lag=None)


@contextmanager
def overhearing(url: str, *, via: str | None = None, channel: Channel = NEWS) -> Iterator[Overheard]:
    threads, descriptors = set(threading.enumerate()), psutil.Process().num_fds()
    overheard = Overheard(url, via or url, channel)
    overheard.listener.start()
    try:
        yield overheard
    finally:
        began = time.monotonic()
        overheard.listener.close()
        seconds = time.monotonic() - began
    assert seconds < 0.5
    assert not overheard.current
    assert {thread for thread in threading.enumerate() if thread.name == channel.name} <= threads
    assert psutil.Process().num_fds() == descriptors


def tell(url: str, *news: str) -> None:
    """Each in a transaction of its own."""
    execute(url, *(f"NOTIFY news, '{each}'" for each in news))


def backends(url: str) -> list[int]:
    """The processes that serve listeners of this database."""
    name = application_name("listener")
    query = f"SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '{name}%%'"
    return [int(row["pid"] or 0) for row in fetch(url, query)]
