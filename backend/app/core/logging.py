"""One log for the whole process: console lines for people or JSON lines for machines, on standard error."""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, TextIO

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonEncoder, JsonFormatter

from app.core.clock import rfc3339
from app.core.settings import Settings

request_id_var: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request being served, None outside of one."""

ACCESS_LOG: Final = "app.access"

_HANDLER: Final = "app"
_LEVELS: Final = {
    "alembic": logging.INFO,
    "alembic.runtime.plugins": logging.WARNING,
    "httpx": logging.WARNING,
    "sqlalchemy": logging.WARNING,
}
_CONTROLS: Final = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
} | {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


def configure_logging(settings: Settings) -> None:
    """Send every logger, uvicorn's included, through one handler on the root logger.

    Safe to call again: the latest call decides. Handlers that others put on the root logger stay.
    """
    # What no line shows need not be found out for each (docs.python.org/3/howto/logging.html#optimization).
    vars(logging).update(_srcfile=None, logThreads=False, logProcesses=False, logMultiprocessing=False)
    handler = _Lines()
    handler.set_name(_HANDLER)
    handler.setFormatter(_JsonLines() if settings.json_logs else _ConsoleLines())
    handler.addFilter(_stamp_request_id)
    root = logging.getLogger()
    for previous in [handler for handler in root.handlers if handler.name == _HANDLER]:
        root.removeHandler(previous)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    for name, level in _LEVELS.items():
        logging.getLogger(name).setLevel(level)
    _adopt_uvicorn()


def _adopt_uvicorn() -> None:
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        # The access log of web/middleware.py replaces uvicorn's, whose lines hold raw paths and queries.
        logger.propagate = name != "uvicorn.access"


def _stamp_request_id(record: logging.LogRecord) -> bool:
    vars(record).setdefault("request_id", request_id_var.get())
    return True


class _Lines(logging.StreamHandler[TextIO]):
    """Writes to standard error: the access log's lines with the next flush, any other at once, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[str] = deque()
        self._writing = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._waiting.append(self.format(record) + "\n")
            if record.name != ACCESS_LOG:
                self.flush()
        except Exception:  # noqa: BLE001 - as the standard library's handlers do it
            self.handleError(record)

    def flush(self) -> None:
        with self._writing:
            lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
            self.stream.write("".join(lines))
            self.stream.flush()


class _ConsoleLines(logging.Formatter):
    """`time level logger message [request id]`, in local time.

    Control characters are shown as escapes and tracebacks are indented, so that no text from outside can pass
    for a line of its own.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        line = f"{_local_time(int(record.created))} {record.levelname:<7} {record.name}  {record.message}"
        if not line.isprintable():
            line = line.translate(_CONTROLS)
        request_id = getattr(record, "request_id", None)
        return f"{line}  [{request_id}]" if request_id else line

    def format(self, record: logging.LogRecord) -> str:
        line, *traceback = super().format(record).split("\n")
        return "\n".join([line, *(f"    {part.translate(_CONTROLS)}" for part in traceback)]) if traceback else line


@lru_cache(maxsize=1)
def _local_time(second: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(second))


class _JsonLines(JsonFormatter):
    """One JSON object a line: timestamp, level, logger, message, request_id, the message's named values, and extras."""

    def __init__(self) -> None:
        encode = JsonEncoder().encode
        super().__init__(
            ["asctime", "levelname", "name", "message", "request_id"],
            rename_fields={"asctime": "timestamp", "levelname": "level", "name": "logger"},
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],
            json_serializer=lambda fields, **_: encode(fields),
        )

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_data, record, message_dict)
        if isinstance(record.args, Mapping):
            log_data.update(record.args)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return rfc3339(datetime.fromtimestamp(record.created, UTC))
