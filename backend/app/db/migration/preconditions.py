"""What revisions ask of a database before the first of them changes anything."""

from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import Connection

from app.db.revisions import current_revisions


def check_preconditions(connection: Connection, scripts: ScriptDirectory, destination: str) -> None:
    """Ask every revision on the way to `destination`; what they write meanwhile is undone.

    A revision may have a function `precondition(connection)`. It has to bear a database at any earlier revision,
    or an empty one, and what it looks for must stop the revision itself, too: rows go on being written.

    Raises:
        StartupError: one of them refuses.
        CommandError: there is no such way.
    """
    current = tuple(current_revisions(connection))
    try:
        pending = list(scripts.iterate_revisions(destination, current or "base", implicit_base=True))
    except RevisionError as error:
        raise CommandError(str(error)) from error
    for revision in reversed(pending):
        if precondition := getattr(revision.module, "precondition", None):
            with connection.begin_nested() as savepoint:
                precondition(connection)
                savepoint.rollback()
