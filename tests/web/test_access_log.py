"""Lines of the access log come late, but they come, and in their order."""

import io
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import redirect_stderr

import pytest

from app.core.logging import configure_logging
from app.core.settings import REPOSITORY, Settings
from app.web import access_log
from app.web.access_log import AccessLog, Entry


def entry(number: int) -> Entry:
    return Entry(time.time(), f"request-{number}", "GET", "/api/users/me", 200, 0.3, 7, "192.0.2.1")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    stream, root = io.StringIO(), logging.getLogger()
    before = root.handlers[:]
    with redirect_stderr(stream):
        configure_logging(Settings(_env_file=None, log_format="console"))
    yield stream
    root.handlers[:] = before


def lines_in(stream: io.StringIO, number: int) -> list[str]:
    """Once there are so many."""
    deadline = time.monotonic() + 5
    while stream.getvalue().count("\n") < number:
        assert time.monotonic() < deadline, stream.getvalue()
        time.sleep(0.005)
    return stream.getvalue().splitlines()


def test_a_line_is_written_a_moment_later(stream: io.StringIO) -> None:
    AccessLog().note(entry(1))
    assert not stream.getvalue()
    (line,) = lines_in(stream, 1)
    assert line.endswith(" INFO    app.access  GET /api/users/me 200 0.3 ms client=192.0.2.1 principal=7  [request-1]")


def test_it_tells_the_time_of_the_request(stream: io.StringIO) -> None:
    AccessLog().note(entry(1)._replace(at=0.0))
    (line,) = lines_in(stream, 1)
    assert line.startswith(time.strftime("%H:%M:%S", time.localtime(0)))


def test_many_at_once_are_all_written_in_their_order(stream: io.StringIO) -> None:
    log = AccessLog()
    for number in range(500):
        log.note(entry(number))
    assert [line.rpartition("[")[2] for line in lines_in(stream, 500)] == [f"request-{n}]" for n in range(500)]


def test_more_come_after_the_first_were_written(stream: io.StringIO) -> None:
    log = AccessLog()
    log.note(entry(1))
    lines_in(stream, 1)
    log.note(entry(2))
    lines_in(stream, 2)


def test_threads_that_write_at_once_lose_and_repeat_nothing(stream: io.StringIO) -> None:
    log = AccessLog()
    for number in range(300):
        log.note(entry(number))
    threads = [threading.Thread(target=log.write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(lines_in(stream, 300))) == len(stream.getvalue().splitlines()) == 300


def test_any_other_line_is_written_at_once_and_takes_the_earlier_along(stream: io.StringIO) -> None:
    logging.getLogger("app.access").info("first")
    assert not stream.getvalue()
    logging.getLogger("app.x").info("second")
    assert [line.split("  ")[-1] for line in stream.getvalue().splitlines()] == ["first", "second"]


class _Slow(io.StringIO):
    """Standard error of a process whose output nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.is_read = threading.Event()

    def write(self, text: str) -> int:
        self.is_read.wait(10)
        return super().write(text)


class TestSlowReaders:
    @pytest.fixture
    def stream(self, stream: io.StringIO) -> Iterator[_Slow]:
        slow = _Slow()
        (handler,) = [each for each in logging.getLogger().handlers if each.name == "app"]
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(slow)
        yield slow
        slow.is_read.set()

    def test_they_hold_up_no_request(self, stream: _Slow) -> None:
        log = AccessLog()
        log.note(entry(1))
        time.sleep(3 * access_log.WRITTEN_WITHIN)
        began = time.monotonic()
        log.note(entry(2))
        assert time.monotonic() - began < 1
        stream.is_read.set()
        assert len(lines_in(stream, 2)) == 2

    def test_not_without_an_end(self, stream: _Slow, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(access_log, "MAX_WAITING", 3)
        log = AccessLog()

        def note() -> None:
            for number in range(3):
                log.note(entry(number))

        thread = threading.Thread(target=note)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        stream.is_read.set()
        thread.join(5)
        assert not thread.is_alive()
        assert len(lines_in(stream, 3)) == 3


def test_a_stream_that_is_gone_does_no_harm(stream: io.StringIO) -> None:
    log = AccessLog()
    stream.close()
    log.note(entry(1))
    log.write()
    log.note(entry(2))


def test_the_end_of_the_process_writes_what_waits() -> None:
    script = (
        "import time\n"
        "from app.core.logging import configure_logging\n"
        "from app.core.settings import Settings\n"
        "from app.web.access_log import Entry, access_log\n"
        "configure_logging(Settings(_env_file=None, log_format='console'))\n"
        "access_log.note(Entry(time.time(), 'last', 'GET', '/', 200, 0.1, None, None))\n"
    )
    variables = os.environ | {"PYTHONPATH": str(REPOSITORY / "backend")}
    ended = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=True)
    assert ended.stderr.endswith("GET / 200 0.1 ms client=None principal=None  [last]\n")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_handler_that_fails_once(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    log, failures = AccessLog(), [RuntimeError("once")]
    (handler,) = [each for each in logging.getLogger().handlers if each.name == "app"]

    write_out = handler.flush

    def flush() -> None:
        if failures:
            raise failures.pop()
        write_out()

    monkeypatch.setattr(handler, "flush", flush)
    log.note(entry(1))
    time.sleep(5 * access_log.WRITTEN_WITHIN)
    assert failures == []
    log.note(entry(2))
    assert len(lines_in(stream, 2)) == 2
