"""Runs revisions, for the start of the service and for the `alembic` command alike."""

import logging

from alembic import context
from alembic.util import CommandError

from app.core.errors import StartupError
from app.core.logging import configure_logging
from app.core.settings import load_settings
from app.db.engine import database
from app.db.migration.run import run_revisions


def run_offline() -> None:
    context.configure(
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},  # the driver's own style would write each % twice
        literal_binds=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_from_the_shell() -> None:
    logging.getLogger("alembic.util.messaging").disabled = True  # it repeats what the command prints of a refusal
    try:
        settings = load_settings()
        configure_logging(settings)
        with database(settings) as url:
            run_revisions(url)
    except StartupError as error:
        raise CommandError(str(error)) from error


if context.is_offline_mode():
    run_offline()
elif "url" in context.config.attributes:
    run_revisions(context.config.attributes["url"], context.config.attributes.get("lock"))
else:
    run_from_the_shell()
