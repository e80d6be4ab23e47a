"""Load: requests on so many connections for so many seconds, from a process of its own, and what came of it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from tempfile import NamedTemporaryFile

from benchmarks.cpus import LOAD_CPUS, pinned
from benchmarks.servers import REPOSITORY

TIMEOUT = 10
"""Seconds after which an answer counts as lost."""

_LUA = Path(__file__).with_name("load.lua")


@dataclass(frozen=True)
class Answers:
    seconds: float
    ok: int
    unavailable: int
    """Answers of 503."""
    other: int
    """Answers of any other status but 200."""
    broken: int
    """Connections that failed."""
    timeouts: int
    p50: float
    p99: float
    longest: float
    """Of all answers, in milliseconds."""
    longest_gap: float
    """Milliseconds in which no answer came on any connection."""

    @property
    def rate(self) -> float:
        """Answers of 200 a second."""
        return self.ok / self.seconds

    @property
    def failures(self) -> int:
        """What is neither an answer of 200 nor of 503."""
        return self.other + self.broken + self.timeouts


def generator() -> str:
    return "wrk" if shutil.which("wrk") and "PYTHON_LOAD" not in os.environ else "the generator in Python"


def get(path: str, token: str) -> bytes:
    """A request with this bearer token."""
    return f"GET {path} HTTP/1.1\r\nHost: benchmark\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def post(path: str, body: str, *headers: str) -> bytes:
    """A request with these headers besides those that every one has."""
    head = [f"POST {path} HTTP/1.1", "Host: benchmark", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", body]).encode()


def ask(port: int, requests: Sequence[bytes], connections: int, seconds: float, most: int | None = None) -> Answers:
    """The requests in turn, by wrk where it is installed; each connection asks again when it was answered.

    Ends before the time is over when there are `most` answers; wrk tells no latencies then.
    """
    with _asking(port, requests, connections, seconds, patient=False, most=most) as process:
        return _answers(process)


def ask_all_right(
    port: int, requests: Sequence[bytes], connections: int, seconds: float, most: int | None = None
) -> Answers:
    """As `ask`. RuntimeError where one of the answers is not 200."""
    answers = ask(port, requests, connections, seconds, most)
    if not answers.ok or answers.failures or answers.unavailable:
        raise RuntimeError(f"not everything was answered 200: {answers}")
    return answers


def ask_patiently(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Answers:
    """By the generator in Python, which waits after a 503 for as long as it is told to."""
    with _asking(port, requests, connections, seconds, patient=True) as process:
        return _answers(process)


@contextmanager
def asking_patiently(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Iterator[list[Answers]]:
    """As `ask_patiently`, beside what is done in the context; the answers are in the list when it ends."""
    found: list[Answers] = []
    with _asking(port, requests, connections, seconds, patient=True) as process:
        yield found
        found.append(_answers(process))


@contextmanager
def _asking(  # noqa: PLR0913 - all of them are what the command is made of
    port: int, requests: Sequence[bytes], connections: int, seconds: float, *, patient: bool, most: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    with NamedTemporaryFile(prefix="bench-") as file:
        file.write(b"\0".join(requests) + b"\0")
        file.flush()
        command = [sys.executable, "-m", "benchmarks.generator", str(port), str(connections), str(seconds), file.name]
        if not patient and generator() == "wrk":
            command = ["wrk", "-t1", f"-c{connections}", f"-d{ceil(seconds)}s", "--timeout", f"{TIMEOUT}s"]
            command += ["-s", str(_LUA), f"http://127.0.0.1:{port}", "--", file.name]
        command += [str(most)] if most else []
        with pinned(LOAD_CPUS):
            process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _answers(process: subprocess.Popen[str]) -> Answers:
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the load ended with status {process.returncode}: {output}")
    return Answers(**json.loads(output.splitlines()[-1]))
