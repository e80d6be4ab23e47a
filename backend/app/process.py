"""The process around the application: how it ends when it cannot start, and when its supervisor is gone."""

import asyncio
import logging
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.connection import wait
from typing import NoReturn

from uvicorn.config import STARTUP_FAILURE

from app.core.errors import StartupError

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
