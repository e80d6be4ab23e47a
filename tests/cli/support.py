"""`trading-backend` in this process: its own entry point, arguments, streams and environment."""

import io
import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import pytest

from app.cli import main
from tests.support.service import heed_changes


@dataclass(frozen=True)
class Outcome:
    status: int
    printed: str
    told: str
    """On standard error."""

    @property
    def json(self) -> Any:
        return json.loads(self.printed)

    @property
    def sentence(self) -> str:
        """The one line that says why the command was refused."""
        assert (self.status, self.printed) == (1, ""), self
        (line,) = self.told.splitlines()
        assert line.startswith("ERROR: "), line
        return line.removeprefix("ERROR: ")


@dataclass
class CommandLine:
    outcomes: list[Outcome] = field(default_factory=list)

    def __call__(self, *arguments: str, stdin: str | bytes = "") -> Outcome:
        """Run a command that succeeds; what it changed has been heard of."""
        outcome = self.run(*arguments, stdin=stdin)
        assert outcome.status == 0, outcome
        return outcome

    def refused(self, *arguments: str, stdin: str | bytes = "") -> str:
        """Run a command that does not; the sentence."""
        return self.run(*arguments, stdin=stdin).sentence

    def run(self, *arguments: str, stdin: str | bytes = "") -> Outcome:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        given, out, err = (io.TextIOWrapper(io.BytesIO(each), encoding="utf-8") for each in (data, b"", b""))
        at_sigterm = signal.getsignal(signal.SIGTERM)
        with ExitStack() as streams:
            streams.enter_context(_logging_alone())
            streams.enter_context(patch.object(sys, "argv", ["trading-backend", *arguments]))
            streams.enter_context(patch.object(sys, "stdin", given))
            streams.enter_context(redirect_stdout(out))
            streams.enter_context(redirect_stderr(err))
            streams.callback(signal.signal, signal.SIGTERM, at_sigterm)
            with pytest.raises(SystemExit) as ended:
                main()
            assert isinstance(ended.value.code, int)
            self.outcomes.append(Outcome(ended.value.code, _text(out), _text(err)))
        heed_changes()
        return self.outcomes[-1]


@contextmanager
def _logging_alone() -> Iterator[None]:
    """A command has a process of its own: what a service here logs meanwhile, in its threads, does not get among it."""
    pass_on, thread = logging.Logger.callHandlers, threading.get_ident()

    def pass_on_from_here(logger: logging.Logger, record: logging.LogRecord) -> None:
        if threading.get_ident() == thread:
            pass_on(logger, record)

    with patch.object(logging.Logger, "callHandlers", pass_on_from_here):
        yield


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
