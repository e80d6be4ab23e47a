"""What can be told without a database: the settings, DATA_DIR, the signing key."""

import os
import shutil
from pathlib import Path
from stat import S_IMODE

from pydantic import SecretStr, ValidationError

from app.cli.doctor.report import Fail, Findings, Ok, Warn, check
from app.core.settings import REPOSITORY, Settings, refuse_weak_secret

ENV_FILE = REPOSITORY / ".env"
KEPT_SECRETS = ("api_token", "jwt_secret")

LITTLE_SPACE = 1_000_000_000
TOO_LITTLE_SPACE = 100_000_000
"""Bytes."""

_A_SECRET = "what `openssl rand -hex 32` prints"  # noqa: S105 - advice


@check("settings")
def check_refused_settings(error: ValidationError) -> Findings:
    """Each value that stops the start."""
    for fault in error.errors(include_url=False, include_input=False):
        variable = str(fault["loc"][0]).upper() if fault["loc"] else ""
        reason = fault["msg"].removeprefix("Value error, ")
        yield Fail(f"{variable} {reason}".strip(), f"mend it in the environment or in {ENV_FILE}")


@check("settings")
def check_unreadable_settings(error: Exception) -> Findings:
    yield Fail(f"{ENV_FILE} cannot be read as UTF-8 text ({type(error).__name__})", "mend it, or make it readable")


@check("settings")
def check_settings(settings: Settings) -> Findings:
    yield Ok(f"{settings.app_env}, registration {settings.registration}")
    if ENV_FILE.exists() and ENV_FILE.stat().st_mode & 0o077:
        yield Warn(f"others may read {ENV_FILE}, which may hold secrets", f"chmod 600 {ENV_FILE}")
    if any(network.prefixlen == 0 for network in settings.proxy_networks):
        yield Warn(
            "TRUSTED_PROXIES holds every address, so that clients can choose theirs, and escape all limits on it",
            "set TRUSTED_PROXIES to the addresses of the proxies alone",
        )
    elif settings.production and not settings.proxy_networks:
        yield Warn(
            "TRUSTED_PROXIES is empty: behind a proxy, clients share its address and each other's failed sign-ins",
            "set TRUSTED_PROXIES to the proxy's address, unless clients connect directly",
        )
    if settings.session_idle_days > settings.refresh_token_days:
        yield Warn(
            "SESSION_IDLE_DAYS says nothing, because it is longer than sessions live (REFRESH_TOKEN_DAYS)",
            f"set SESSION_IDLE_DAYS to at most {settings.refresh_token_days}",
        )
    if weakness := _weakness(settings.api_token):
        yield Warn(f"API_TOKEN {weakness}", f"set API_TOKEN to {_A_SECRET}")


@check("data dir")
def check_data_dir(settings: Settings) -> Findings:
    folder = settings.data_dir
    try:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        yield Ok(str(folder) if existing == folder else f"{folder} is not there yet; what needs it makes it")
        if not existing.is_dir():
            yield Fail(f"{existing} is no folder", "set DATA_DIR to another place")
        elif not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
            yield Fail(f"this user may not write to {existing}", f"chown it, or chmod u+rwx {existing}")
        else:
            yield from _check_modes(folder)
            yield from _check_space(existing)
    except OSError as error:
        yield Fail(f"{folder} cannot be looked at ({error.strerror})", "set DATA_DIR to a folder of this user")


@check("jwt secret")
def check_jwt_secret(settings: Settings) -> Findings:
    current, previous = settings.jwt_secret, settings.jwt_secret_previous
    kept = settings.data_dir / "jwt_secret"
    if current is not None:
        yield Ok("in JWT_SECRET" + (", and the previous one still verifies" if previous else ""))
    else:
        yield Ok(f"in {kept}" if kept.exists() else f"the first start makes one, and keeps it in {kept}")
    if weakness := _weakness(current):
        yield Warn(f"JWT_SECRET {weakness}", f"set JWT_SECRET to {_A_SECRET}")
    if current is not None and current == previous:
        yield Warn("JWT_SECRET_PREVIOUS is JWT_SECRET itself", "unset JWT_SECRET_PREVIOUS, or set it to the former one")
    if current is not None and current == settings.api_token:
        yield Fail(
            "JWT_SECRET is API_TOKEN: whoever has that token can sign in as anybody", f"set JWT_SECRET to {_A_SECRET}"
        )


def _check_modes(folder: Path) -> Findings:
    private = {folder: 0o700} | {folder / name: 0o600 for name in KEPT_SECRETS}
    for path, wanted in private.items():
        if path.exists() and (mode := S_IMODE(path.stat().st_mode)) & ~wanted:
            yield Warn(f"others may read {path} (mode {mode:03o}), which holds secrets", f"chmod {wanted:03o} {path}")


def _check_space(folder: Path) -> Findings:
    free = shutil.disk_usage(folder).free
    if free < LITTLE_SPACE:
        kind = Fail if free < TOO_LITTLE_SPACE else Warn
        yield kind(f"{free / 1e6:.0f} MB are free on the disk of {folder}", "make room, or set DATA_DIR elsewhere")


def _weakness(secret: SecretStr | None) -> str | None:
    try:
        refuse_weak_secret(secret.get_secret_value() if secret else _A_SECRET)
    except ValueError as error:
        return str(error).partition(":")[0]
    return None
