"""What a developer sees once the service is up: where the docs are, and a line to paste."""

import os
import sys

from app.core.settings import Settings

_UVICORN_PORT = "8000"


def print_banner(settings: Settings, token: str | None) -> None:
    """Printed, not logged: a log is no place for a token. One that the user configured is not repeated.

    `token` is None when the MVP user was claimed and signs in with a password.
    """
    address = f"http://localhost:{_port(sys.argv)}"
    lines = ["", f"  Docs    {address}/docs"]
    if token is not None:
        shown = "$API_TOKEN" if settings.api_token else token
        lines.append(f'  Try     curl -H "Authorization: Bearer {shown}" {address}/api/health/detailed')
    print("\n".join([*lines, ""]), flush=True)  # noqa: T201


def _port(arguments: list[str]) -> str:
    """Uvicorn does not tell the application which port it serves; its command line does."""
    for position, argument in enumerate(arguments):
        if argument == "--port" and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith("--port="):
            return argument.removeprefix("--port=")
    return os.environ.get("UVICORN_PORT", _UVICORN_PORT)
