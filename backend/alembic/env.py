"""Runs revisions, for the start of the service and for the `alembic` command alike."""

from alembic import context
from alembic.util import CommandError

from app.core.errors import StartupError
from app.core.logging import configure_logging
from app.core.settings import load_settings
from app.db.engine import database
from app.db.migration_run import run_revisions


def run_offline() -> None:
    context.configure(dialect_name="postgresql", literal_binds=True, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


def run_from_the_shell() -> None:
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
    run_revisions(**context.config.attributes)
else:
    run_from_the_shell()
