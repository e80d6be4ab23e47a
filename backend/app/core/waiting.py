"""Waiting that ends when the process is asked to stop."""

import threading

from app.core.errors import StartupError

_asked_to_stop = threading.Event()


def stop_waiting() -> None:
    """End every `pause` of this process, now and later."""
    _asked_to_stop.set()


def pause(seconds: float) -> None:
    """Sleep.

    Raises:
        StartupError: the process was asked to stop before or meanwhile.
    """
    if _asked_to_stop.wait(seconds):
        raise StartupError("Stopped by a signal before the service was up.")
