"""The access log: a line for each request, put together and written a moment later, by a thread.

A log record costs as much as the rest of a light request where it is made between two of them, and a third of that
where many are made in a row.
"""

import atexit
import logging
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Final, NamedTuple

from app.core.logging import ACCESS_LOG

WRITTEN_WITHIN: Final = 0.05
"""Seconds."""

MAX_WAITING: Final = 10_000
"""Entries; when there are more, requests wait until they are written."""

_LINE: Final = "%(method)s %(path)s %(status)s %(duration_ms)s ms client=%(client_address)s principal=%(principal_id)s"

_logger = logging.getLogger(ACCESS_LOG)


class Entry(NamedTuple):
    at: float
    """Seconds since the epoch."""
    request_id: str
    method: str
    path: str
    status: int | None
    """None when no answer was begun."""
    duration_ms: float
    principal_id: int | None
    client_address: str | None


class AccessLog:
    def __init__(self) -> None:
        self._waiting: deque[Entry] = deque()
        self._is_any = threading.Event()
        self._writing = threading.Lock()
        self._writer: threading.Thread | None = None

    def note(self, entry: Entry) -> None:
        self._waiting.append(entry)
        if len(self._waiting) >= MAX_WAITING:
            self.write()
        elif not self._is_any.is_set():
            self._is_any.set()
            if self._writer is None or not self._writer.is_alive():  # whatever a handler raised ended it
                writer = threading.Thread(target=self._write_on, name="access log", daemon=True)
                writer.start()
                self._writer = writer

    def write(self) -> None:
        """Write what waits."""
        with self._writing:
            for _ in range(len(self._waiting)):
                _logger.handle(_record(self._waiting.popleft()))
        for handler in logging.getLogger().handlers:
            with suppress(OSError, ValueError):  # its stream is gone, and with it whoever could be told
                handler.flush()

    def _write_on(self) -> None:
        while self._is_any.wait():
            time.sleep(WRITTEN_WITHIN)
            self._is_any.clear()
            self.write()


def _record(entry: Entry) -> logging.LogRecord:
    record = _logger.makeRecord(ACCESS_LOG, logging.INFO, "", 0, _LINE, (entry._asdict(),), None)
    record.created, record.request_id = entry.at, entry.request_id
    return record


access_log: Final = AccessLog()
"""Of this process."""

atexit.register(access_log.write)
