"""The command line: `python -m app.cli`, installed as `trading-backend`. It calls services and holds no logic."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
import uvicorn

from app.core.errors import StartupError
from app.core.logging import configure_logging
from app.core.settings import Settings, load_settings
from app.db.engine import database, make_engine, wait_for_database
from app.db.migrations import migrate
from app.process import exit_with

cli = typer.Typer(help="Run and look after the trading backend.", no_args_is_help=True, pretty_exceptions_enable=False)


@cli.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8001,
    workers: Annotated[int, typer.Option(min=1, help="Processes that serve requests.")] = 1,
) -> None:
    """Serve the API; the database is migrated before the first worker starts."""
    settings = load_settings()
    with _migrated(settings, apply=settings.migrate_on_start):
        uvicorn.run("app.main:app", host=host, port=port, workers=workers, proxy_headers=False)


@cli.command("migrate")
def migrate_command() -> None:
    """Bring the database to the revision of this code, as a start does."""
    with _migrated(load_settings(), apply=True):
        pass


@contextmanager
def _migrated(settings: Settings, *, apply: bool) -> Iterator[None]:
    """A database at the code's revision, embedded or not, for as long as the context lasts."""
    configure_logging(settings)
    with database(settings) as url:
        engine = make_engine(url, pooled=False)
        wait_for_database(engine)
        engine.dispose()
        migrate(url, apply=apply)
        yield


def main() -> None:
    """Run a command; what keeps it from its work is one sentence and status 1."""
    try:
        cli()
    except StartupError as error:
        exit_with(error)


if __name__ == "__main__":
    main()
