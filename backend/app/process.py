"""The process around the application: how it ends when it cannot start, is stopped, or its supervisor is gone."""

import asyncio
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import FrameType
from typing import NoReturn

from uvicorn.config import STARTUP_FAILURE

from app.core.errors import StartupError
from app.core.waiting import stop_waiting

log = logging.getLogger(__name__)


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

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


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
