"""What a developer sees once the service is up: where the docs are, and a line to paste."""

from app.core.settings import Settings
from app.process import served_address

_UVICORN_PORT = 8000


def print_banner(settings: Settings, token: str | None) -> None:
    """Printed, not logged: a log is no place for a token. One that the user configured is not repeated.

    `token` is None when the MVP user was claimed and signs in with a password.
    """
    _, port = served_address() or ("", _UVICORN_PORT)
    address = f"http://localhost:{port}"
    lines = ["", f"  Docs    {address}/docs"]
    if token is not None:
        shown = "$API_TOKEN" if settings.api_token else token
        lines.append(f'  Try     curl -H "Authorization: Bearer {shown}" {address}/api/health/detailed')
    print("\n".join([*lines, ""]), flush=True)  # noqa: T201
