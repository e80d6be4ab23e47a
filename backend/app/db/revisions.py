"""Which revisions the code has, and which one a database is at; Alembic itself, 0.4 s of imports, is not needed."""

import re
from functools import cache

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from app.core.settings import REPOSITORY

VERSIONS = REPOSITORY / "backend" / "alembic" / "versions"
UPGRADE = "cd backend && python -m alembic upgrade head"

_REVISION = re.compile(r'^(revision|down_revision)(?:: [^=]+)? = (?:"(\w+)"|None)$', re.MULTILINE)
_UNDEFINED_TABLE = "42P01"


@cache
def revisions() -> dict[str, str | None]:
    """Every revision of the code and the one before it, read from the files without importing Alembic (0.4 s)."""
    chain = {}
    for path in sorted(VERSIONS.glob("*.py")):
        named = dict(_REVISION.findall(path.read_text(encoding="utf-8")))
        chain[named["revision"]] = named["down_revision"] or None
    return chain


@cache
def head_revision() -> str:
    """The revision this code expects a database to be at."""
    (head,) = revisions().keys() - set(revisions().values())
    return head


def pending_revisions(current: str | None) -> list[str]:
    """What an upgrade from `current` (None: an empty database) would apply, in order.

    Raises:
        KeyError: `current` is no revision of this code.
    """
    pending: list[str] = []
    revision: str | None = head_revision()
    while revision != current:
        if revision is None:
            raise KeyError(current)
        pending.insert(0, revision)
        revision = revisions()[revision]
    return pending


def current_revisions(connection: Connection) -> list[str]:
    """What `alembic_version` holds: nothing when the table is missing or empty; more than one row is a fault."""
    try:
        with connection.begin_nested() if connection.in_transaction() else connection.begin():
            return sorted(connection.scalars(text("SELECT version_num FROM alembic_version")))
    except ProgrammingError as error:
        if getattr(error.orig, "pgcode", None) == _UNDEFINED_TABLE:
            return []
        raise
