"""Writes the revision that leads from the last one to the models.

The models are compared with what the revisions make of an empty database, on a server of its own: a development
database may hold a draft of this very revision, or what somebody tried by hand.

Usage: python backend/alembic/revise.py [--empty] "what it does"
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from app.core.errors import StartupError
from app.db.embedded.server import EmbeddedPostgres
from app.db.migration.migrate import ALEMBIC_INI


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a revision from what the models changed.")
    parser.add_argument("message", help="what it does, as its first sentence")
    parser.add_argument("--empty", action="store_true", help="write one to be filled in by hand")
    arguments = parser.parse_args()
    try:
        revise(arguments.message, empty=arguments.empty)
    except (CommandError, NotImplementedError, StartupError) as error:
        sys.exit(f"ERROR: {error}")


def revise(message: str, *, empty: bool = False) -> None:
    config = Config(ALEMBIC_INI)
    if empty:
        command.revision(config, message)
        return
    with TemporaryDirectory(prefix="revision-") as folder, EmbeddedPostgres(Path(folder) / "data" / "postgres") as url:
        config.attributes["url"] = url
        command.upgrade(config, "head")
        command.revision(config, message, autogenerate=True)


if __name__ == "__main__":
    main()
