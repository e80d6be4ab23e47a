"""One log, readable by people or by machines, that text from outside cannot forge."""

import io
import json
import logging
import logging.config
import re
from collections.abc import Iterator
from contextlib import redirect_stderr
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from uvicorn.config import LOGGING_CONFIG

from app.core.logging import configure_logging, request_id_var
from app.core.settings import Settings

NAMES = ("", "uvicorn", "uvicorn.error", "uvicorn.access", "alembic", "alembic.runtime.plugins", "sqlalchemy")


@pytest.fixture(autouse=True)
def loggers_as_they_were() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def configure(stream: io.StringIO, **settings: Any) -> None:
    with redirect_stderr(stream):
        configure_logging(Settings(_env_file=None, **settings))


def write_only_here(message: str, **extra: Any) -> None:
    """Past pytest's own handlers: processes that share the tests cannot send a surrogate to each other."""
    (handler,) = [handler for handler in logging.getLogger().handlers if handler.name == "app"]
    handler.handle(logging.makeLogRecord({"name": "app.x", "msg": message, **extra}))


def fail() -> None:
    raise ValueError("first\n12:00:00 INFO    app  forged\x1b[31m")


class TestConsole:
    @pytest.fixture(autouse=True)
    def _console(self, stream: io.StringIO) -> None:
        configure(stream, log_format="console")

    def test_a_line_can_be_read(self, stream: io.StringIO) -> None:
        logging.getLogger("app.x").info("hello %s", "wörld")
        assert re.fullmatch(r"\d\d:\d\d:\d\d INFO    app\.x  hello wörld\n", stream.getvalue())

    def test_the_request_id_ends_it(self, stream: io.StringIO) -> None:
        token = request_id_var.set("req-1")
        logging.getLogger("app.x").warning("hello")
        request_id_var.reset(token)
        logging.getLogger("app.x").warning("bye")
        first, second = stream.getvalue().splitlines()
        assert first.endswith(" WARNING app.x  hello  [req-1]")
        assert second.endswith(" WARNING app.x  bye")

    @pytest.mark.parametrize("control", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1b", "\x85", "\u2028", "\u2029", "\0"])
    def test_nothing_forges_a_line(self, stream: io.StringIO, control: str) -> None:
        logging.getLogger("app.x").info("before%s12:00:00 INFO    app  forged", control)
        (line,) = stream.getvalue().splitlines()
        assert re.search(r"before(\\x..|\\u....|\\n|\\r)+12:00:00", line)

    def test_a_traceback_is_indented(self, stream: io.StringIO) -> None:
        try:
            fail()
        except ValueError:
            logging.getLogger("app.x").exception("oh\nno")
        first, *rest = stream.getvalue().splitlines()
        assert first.endswith(r"oh\nno")
        assert rest[0] == "    Traceback (most recent call last):"
        assert all(line.startswith("    ") for line in rest)
        assert "\x1b" not in stream.getvalue()

    def test_surrogates_do_not_break_it(self, stream: io.StringIO) -> None:
        write_only_here("a\ud800b")
        assert "a\ud800b" in stream.getvalue()


class TestJson:
    @pytest.fixture(autouse=True)
    def _json(self, stream: io.StringIO) -> None:
        configure(stream, log_format="json")

    def entries(self, stream: io.StringIO) -> list[dict[str, Any]]:
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    def test_an_entry(self, stream: io.StringIO) -> None:
        token = request_id_var.set("req-1")
        logging.getLogger("app.x").info("hello %s", "wörld\n2", extra={"status": 200, "color_message": "x"})
        request_id_var.reset(token)
        (entry,) = self.entries(stream)
        moment = datetime.fromisoformat(entry.pop("timestamp"))
        assert moment.tzinfo is not None
        assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)
        assert entry == {
            "level": "INFO",
            "logger": "app.x",
            "message": "hello wörld\n2",
            "request_id": "req-1",
            "status": 200,
        }

    def test_times_end_in_z(self, stream: io.StringIO) -> None:
        logging.getLogger("app.x").info("hello")
        (entry,) = self.entries(stream)
        assert entry["timestamp"].endswith("Z")
        assert entry["request_id"] is None

    def test_a_traceback_is_part_of_its_line(self, stream: io.StringIO) -> None:
        try:
            fail()
        except ValueError:
            logging.getLogger("app.x").exception("oh no")
        (entry,) = self.entries(stream)
        assert "forged" in entry["exc_info"]

    def test_what_json_does_not_know_is_written_all_the_same(self, stream: io.StringIO) -> None:
        write_only_here("a\ud800b", thing=object(), when=datetime.now(UTC))
        (entry,) = self.entries(stream)
        assert entry["message"] == "a\ud800b"


def test_again_is_the_same_as_once(stream: io.StringIO) -> None:
    for log_format in ("console", "json", "json"):
        configure(stream, log_format=log_format)
    logging.getLogger("app.x").info("hello")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["message"] == "hello"


def test_handlers_of_others_stay(stream: io.StringIO) -> None:
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    configure(stream, log_format="console")
    assert other in logging.getLogger().handlers


def test_the_server_writes_to_the_same_log(stream: io.StringIO) -> None:
    logging.config.dictConfig(LOGGING_CONFIG)
    configure(stream, log_format="console")
    logging.getLogger("uvicorn.error").info("Application startup complete.")
    logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', "1.2.3.4", "GET", "/?token=x", "1.1", 200)
    (line,) = stream.getvalue().splitlines()
    assert line.endswith(" INFO    uvicorn.error  Application startup complete.")
    # What uvicorn asks before it puts an access line together.
    assert not logging.getLogger("uvicorn.access").hasHandlers()


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("app.x", logging.INFO),
        ("alembic.runtime.migration", logging.INFO),
        ("alembic.runtime.plugins.setup", logging.WARNING),
        ("sqlalchemy.engine", logging.WARNING),
    ],
)
def test_libraries_say_what_a_user_expects(stream: io.StringIO, name: str, level: int) -> None:
    configure(stream, log_format="console")
    assert logging.getLogger(name).getEffectiveLevel() == level


@pytest.mark.parametrize(
    ("app_env", "log_format", "is_json"),
    [("development", None, False), ("production", None, True), ("production", "console", False)],
)
def test_production_writes_json(stream: io.StringIO, app_env: str, log_format: str | None, is_json: bool) -> None:
    secret = "k9J2mQ7xW4vB8nR5tY1uP6sD3fG0hL-zC"
    configure(
        stream,
        app_env=app_env,
        log_format=log_format,
        database_url="postgresql://db/app",
        jwt_secret=secret,
        api_token=secret,
    )
    logging.getLogger("app.x").info("hello")
    assert stream.getvalue().startswith("{") == is_json
