"""`doctor`."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.cli.arguments import AsJson
from app.cli.database import PATIENCE, reachable
from app.cli.doctor.accounts import check_mvp_user, check_owners, check_passwords, check_retention
from app.cli.doctor.backups import check_backups, check_tools
from app.cli.doctor.database import (
    check_absent,
    check_clock,
    check_pool,
    check_queue,
    check_schema,
    check_server,
    check_unreachable,
)
from app.cli.doctor.host import (
    check_data_dir,
    check_jwt_secret,
    check_refused_settings,
    check_settings,
    check_unreadable_settings,
)
from app.cli.doctor.report import Finding, as_dict, is_well
from app.cli.output import print_json
from app.core.errors import StartupError
from app.core.settings import Settings
from app.db.engine import make_engine
from app.db.migration.refusal import explain

ORDER = (
    "settings",
    "data dir",
    "database",
    "schema",
    "mvp user",
    "owners",
    "clock",
    "pool",
    "queue",
    "passwords",
    "jwt secret",
    "backups",
    "pg_dump",
    "activity",
)

OF_ANY_SERVER = (check_server, check_clock, check_pool, check_queue, check_tools)
OF_ACCOUNTS = (check_mvp_user, check_owners, check_passwords, check_retention)

_BOUNDED = text("SELECT set_config('lock_timeout', '5s', true), set_config('statement_timeout', '30s', true)")


def doctor(as_json: AsJson = False) -> None:
    """Look for what is wrong, and say what to type; exit 1 when something has failed."""
    findings = sorted(_examine(), key=lambda finding: ORDER.index(finding.name))
    if as_json:
        print_json(as_dict(findings))
    else:
        typer.echo("\n".join(map(str, findings)))
    if not is_well(findings):
        raise typer.Exit(1)


def _examine() -> Iterator[Finding]:
    """As much as can be found out: what rests on something that has failed is left out."""
    try:
        settings = Settings()
    except ValidationError as error:
        yield from check_refused_settings(error)
    except (OSError, UnicodeDecodeError, SettingsError) as error:
        yield from check_unreadable_settings(error)
    else:
        for examine in (check_settings, check_data_dir, check_jwt_secret, check_backups):
            yield from examine(settings)
        yield from _examine_database(settings)


def _examine_database(settings: Settings) -> Iterator[Finding]:
    if settings.database_url is None and not settings.data.postgres.exists():
        yield from check_absent(settings)
        return
    try:
        with reachable(settings, PATIENCE) as url:
            engine = make_engine(url, pooled=False, purpose="doctor")
            try:
                yield from _examine_server(engine, settings)
            except DBAPIError as error:
                yield from check_unreachable(explain(error, url))
            finally:
                engine.dispose()
    except StartupError as error:
        yield from check_unreachable(error)


def _examine_server(engine: Engine, settings: Settings) -> Iterator[Finding]:
    for examine in OF_ANY_SERVER:
        with _reader(engine) as session:
            yield from examine(session, settings)
    with _reader(engine) as session:
        yield from (schema := check_schema(session, settings))
    if is_well(schema):
        for examine in OF_ACCOUNTS:
            with _reader(engine) as session:
                yield from examine(session, settings)


@contextmanager
def _reader(engine: Engine) -> Iterator[Session]:
    """For each check one of its own: a statement that fails takes its transaction along."""
    with Session(engine) as session:
        session.execute(_BOUNDED)
        yield session
