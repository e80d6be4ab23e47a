"""Backups as files: a dump and its manifest, there whole or not at all.

What is being written has a name that begins with a dot, and is locked by its writer: an unlocked one was left behind by
a process that was killed. Names are given out and leftovers removed by one process at a time.
"""

import fcntl
import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import file_digest
from io import BufferedWriter
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from app.core.data_dir import DataDir
from app.core.errors import StartupError
from app.db.backup.contents import Contents

log = logging.getLogger(__name__)

KEPT = 5
NEWEST = "newest"

Origin = Literal["migration", "command"]


class Manifest(BaseModel):
    """What a backup holds, read in the same snapshot as the dump."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    made_by: Origin
    taken_at: AwareDatetime
    database: str
    revision: str | None
    server_version: str
    server_major: int
    pg_dump_major: int
    size: int
    sha256: str
    contents: Contents


@dataclass(frozen=True)
class Backup:
    """The dump at `path`, and the manifest beside it."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def manifest_path(self) -> Path:
        return self.path.with_suffix(".json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def manifest(self) -> Manifest:
        """Raise StartupError when it is missing or not what this version writes."""
        try:
            return Manifest.model_validate_json(self.manifest_path.read_bytes())
        except FileNotFoundError:
            raise StartupError(
                f"{self.path} has no manifest: {self.manifest_path.name} must lie beside it, as it was written."
            ) from None
        except (OSError, ValidationError) as error:
            raise StartupError(f"{self.manifest_path} cannot be read as a backup's manifest.") from error

    def intact_manifest(self) -> Manifest:
        """The manifest of a dump that is, byte for byte, what was written.

        Raises:
            StartupError: it is not, or one of the two cannot be read.
        """
        manifest = self.manifest()
        try:
            with self.path.open("rb") as dump:
                found = file_digest(dump, "sha256").hexdigest()
        except OSError as error:
            raise StartupError(f"{self.path} cannot be read ({error.strerror}).") from error
        if found != manifest.sha256:
            raise StartupError(f"{self.path} is damaged: its SHA-256 is not the one in its manifest.")
        return manifest


class BackupFolder:
    """DATA_DIR/backups."""

    def __init__(self, data: DataDir) -> None:
        self._data = data
        self.path = data.backups

    def backups(self) -> list[Backup]:
        """All of them, the newest first."""
        paths = self.path.glob("[0-9]*T[0-9]*Z-*.dump")
        return sorted((Backup(path) for path in paths), key=lambda backup: backup.name, reverse=True)

    def find(self, name: str) -> Backup:
        """The backup of that name, or the newest one for `newest`; StartupError when there is none."""
        for backup in self.backups():
            if name in (NEWEST, backup.name, backup.path.name):
                return backup
        wanted = "no backup" if name == NEWEST else f"no backup {name!r}"
        raise StartupError(f"There is {wanted} in {self.path}: `trading-backend backup list` shows what there is.")

    @contextmanager
    def draft(self, taken_at: datetime, revision: str | None) -> Iterator["Draft"]:
        """A new backup to be written, which is gone at the end unless it was published.

        Raises:
            StartupError: DATA_DIR cannot be used.
            OSError: the folder cannot be made or written.
        """
        self._data.ensure()
        self.path.mkdir(mode=0o700, exist_ok=True)
        self.path.chmod(0o700)
        with self.turn():
            self._remove_leftovers()
            draft = Draft(self, self._free_name(taken_at, revision or "empty"))
        try:
            yield draft
        finally:
            draft.discard()

    def prune(self) -> None:
        """Delete all but five of the backups that migrations made: the oldest, first of revisions that have several.

        Thus a start that fails over and over does not push out what was there before it.

        Raises:
            OSError: a file cannot be deleted.
        """
        revisions = {backup: manifest.revision for backup, manifest in self._made_by_migrations()}
        while len(revisions) > KEPT:
            counts = Counter(revisions.values())
            oldest_first = list(reversed(revisions))
            victim = next((backup for backup in oldest_first if counts[revisions[backup]] > 1), oldest_first[0])
            log.info("deleting the backup %s: %d are kept", victim.name, KEPT)
            victim.path.unlink()
            victim.manifest_path.unlink()
            del revisions[victim]

    def _made_by_migrations(self) -> Iterator[tuple[Backup, Manifest]]:
        for backup in self.backups():
            with suppress(StartupError):
                manifest = backup.manifest()
                if manifest.made_by == "migration":
                    yield backup, manifest

    @contextmanager
    def turn(self) -> Iterator[None]:
        with _open(self.path / ".lock") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _free_name(self, at: datetime, label: str) -> str:
        while True:
            name = f"{at:%Y%m%dT%H%M%SZ}-{re.sub('[^0-9A-Za-z]', '_', label)}"
            if not any(self.path.glob(f"*{name}.*")):
                return name
            at += timedelta(seconds=1)

    def _remove_leftovers(self) -> None:
        for path in self.path.glob(".*.partial"):
            with path.open("ab") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                log.info("removing %s, which a backup that was interrupted left behind", path.name)
                path.unlink()


class Draft:
    """A dump on its way."""

    def __init__(self, folder: BackupFolder, name: str) -> None:
        self._folder = folder
        self._name = name
        self._path = folder.path / f".{name}.dump.partial"
        self._manifest_path = folder.path / f".{name}.json.partial"
        self.file = _create(self._path)
        fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def publish(self, manifest: Manifest) -> Backup:
        """Put the dump and its manifest on the disk, then under their names."""
        backup = Backup(self._folder.path / f"{self._name}.dump")
        _sync(self.file)
        with self._folder.turn():
            with _create(self._manifest_path) as file:
                file.write(manifest.model_dump_json(indent=2).encode())
                _sync(file)
            self._manifest_path.rename(backup.manifest_path)
            self._path.rename(backup.path)
            _sync_folder(self._folder.path)
        return backup

    def discard(self) -> None:
        self._path.unlink(missing_ok=True)
        self._manifest_path.unlink(missing_ok=True)
        self.file.close()


def _open(path: Path, flags: int = 0) -> BufferedWriter:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600), "wb")


def _create(path: Path) -> BufferedWriter:
    return _open(path, os.O_EXCL)


def _sync(file: BufferedWriter) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
