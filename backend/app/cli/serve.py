"""`serve` and `migrate`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated

import typer
import uvicorn

from app.cli.database import reachable
from app.core.settings import Settings, load_settings
from app.db.backup.create import back_up_before_migration
from app.db.migration.migrate import migrate as migrate_database


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8001,
    workers: Annotated[int, typer.Option(min=1, help="Processes that serve requests.")] = 1,
) -> None:
    """Serve the API; the database is migrated before the first worker starts."""
    settings = load_settings()
    os.environ |= {"UVICORN_HOST": host, "UVICORN_PORT": str(port)}  # as if uvicorn had been asked, in workers too
    with _migrated(settings, apply=settings.migrate_on_start):
        uvicorn.run(
            "app.main:app",
            host=host,
            port=port,
            workers=workers,
            proxy_headers=False,
            log_config=None,
            timeout_graceful_shutdown=10,
        )


def migrate() -> None:
    """Bring the database to the revision of this code, as a start does."""
    with _migrated(load_settings(), apply=True):
        pass


@contextmanager
def _migrated(settings: Settings, *, apply: bool) -> Iterator[None]:
    """A database at the code's revision, embedded or not, for as long as the context lasts."""
    with reachable(settings) as url:
        migrate_database(url, apply=apply, before_change=partial(back_up_before_migration, settings, url))
        yield
