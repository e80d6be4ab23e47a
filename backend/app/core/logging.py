"""One log for the whole process: console lines for people or JSON lines for machines, on standard error."""

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from app.core.clock import rfc3339
from app.core.settings import Settings

request_id_var: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request being served, None outside of one."""

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
    handler = logging.StreamHandler()
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
    record.request_id = request_id_var.get()
    return True


class _ConsoleLines(logging.Formatter):
    """`time level logger message [request id]`, in local time.

    Control characters are shown as escapes and tracebacks are indented, so that no text from outside can pass
    for a line of its own.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s  %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        line = super().formatMessage(record).translate(_CONTROLS)
        request_id = getattr(record, "request_id", None)
        return f"{line}  [{request_id}]" if request_id else line

    def format(self, record: logging.LogRecord) -> str:
        line, *traceback = super().format(record).split("\n")
        return "\n".join([line, *(f"    {part.translate(_CONTROLS)}" for part in traceback)])


class _JsonLines(JsonFormatter):
    """One JSON object a line: timestamp, level, logger, message, request_id and the record's extra fields."""

    def __init__(self) -> None:
        super().__init__(
            ["asctime", "levelname", "name", "message", "request_id"],
            rename_fields={"asctime": "timestamp", "levelname": "level", "name": "logger"},
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],
        )

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return rfc3339(datetime.fromtimestamp(record.created, UTC))
