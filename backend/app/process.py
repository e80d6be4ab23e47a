"""The process around the application: how it is tuned, and ends: cannot start, is stopped, its supervisor is gone."""

import argparse
import asyncio
import errno
import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import FrameType
from typing import Final, NoReturn

from uvicorn.config import STARTUP_FAILURE

from app.core.errors import StartupError
from app.core.waiting import stop_waiting

log = logging.getLogger(__name__)


SWITCH_INTERVAL: Final = 0.001
"""Seconds that a thread waits for a busy event loop to let it run, five times less than Python's own: whoever hears of
revocations is such a thread."""


@contextmanager
def tuned_for_requests() -> Iterator[None]:
    """Let threads run soon, and the garbage collector pass over what was made for the start.

    It would look through all of that again and again while many requests are open.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def exit_with(error: StartupError) -> NoReturn:
    """End a process whose event loop does not run yet, with one sentence and no traceback."""
    sys.stderr.write(f"ERROR: {error}\n")
    sys.exit(_exit_status())


async def exit_from_lifespan(error: StartupError) -> NoReturn:
    """End the process with one sentence and a status of our own.

    An exception raised in the lifespan would become a traceback and status 3. SystemExit passes an event loop only
    from a callback; what uvicorn and Starlette log about the cancellation that follows says nothing new.
    """
    log.critical("%s", error)
    logging.disable()
    asyncio.get_running_loop().call_soon(sys.exit, _exit_status())
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


def _exit_status() -> int:
    """1; but a worker must end with uvicorn's own status, or its supervisor would start it again for ever."""
    return STARTUP_FAILURE if multiprocessing.parent_process() else 1


@contextmanager
def stoppable_start() -> Iterator[None]:
    """Let SIGINT and SIGTERM end what the start waits for; uvicorn itself heeds them once the start is through."""
    if threading.current_thread() is not threading.main_thread():  # no signal reaches it
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        stop_waiting()
        handler = handlers[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in handlers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def served_address() -> tuple[str, int] | None:
    """Host and port that uvicorn was told to serve; None when this process was not started as uvicorn's.

    Uvicorn does not tell the application; its command line and environment do.
    """
    if "uvicorn" not in sys.argv[0] and "UVICORN_PORT" not in os.environ:
        return None
    arguments = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    arguments.add_argument("--host", default=os.environ.get("UVICORN_HOST", "127.0.0.1"))
    arguments.add_argument("--port", type=int, default=int(os.environ.get("UVICORN_PORT", "8000")))
    told, _ = arguments.parse_known_args()
    return told.host, told.port


def refuse_taken_port() -> None:
    """Find out before anything is started whether somebody else serves the port; uvicorn binds it at the very end.

    Raises:
        StartupError: somebody does.
    """
    address = served_address()
    if address is None or multiprocessing.parent_process():  # a supervisor has bound it
        return
    try:
        socket.create_server(address).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartupError(
                f"Port {address[1]} of {address[0]} is taken: stop what serves it, or choose another with --port."
            ) from None


def exit_on_sigterm() -> None:
    """Let SIGTERM unwind the stack, and so stop the embedded database; by default it ends a process on the spot."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def stop_with_supervisor() -> None:
    """Stop this process when uvicorn's supervisor (`--reload`, `--workers`) is killed.

    Otherwise its children would go on serving, unseen, on the port that the next start needs.
    """
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        return

    def stop_when_it_ends() -> None:
        wait([supervisor.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_when_it_ends, name="supervisor-watch", daemon=True).start()
