"""DATA_DIR: the one folder this installation keeps for itself, mode 0700."""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from app.core.errors import StartupError


class DataDir:
    """Holds the embedded database, generated secrets and backups.

    Made at first use rather than at import, so that a deployment with its own database and secrets needs no
    writable disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def backups(self) -> Path:
        return self.path / "backups"

    def ensure(self) -> Path:
        """Make the folder, private to its owner.

        Raises:
            StartupError: it cannot be made or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as error:
            raise StartupError(
                f"DATA_DIR {self.path} cannot be used ({error.strerror}): "
                "make it a folder this user owns, or set DATA_DIR to another one."
            ) from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise StartupError(
                f"DATA_DIR {self.path} is not writable: run `chmod u+rwx` on it, or set DATA_DIR to another folder."
            )
        return self.path

    def secret(self, name: str, generate: Callable[[], str] = secrets.token_urlsafe) -> str:
        """The secret kept in the file `name` (mode 0600), generated the first time.

        Of two processes that generate at once, one wins and both return its value: the file appears whole, under
        its final name, or not at all.

        Raises:
            StartupError: the file cannot be read or written, or is empty.
        """
        path = self.ensure() / name
        try:
            if not path.exists():
                _create_once(path, generate())
            value = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise StartupError(f"{path} cannot be read: make it readable to this user, or delete it.") from error
        if not value:
            raise StartupError(f"{path} is empty: delete it, and the next start makes a new secret.")
        return value


def _create_once(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{text}\n")
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
