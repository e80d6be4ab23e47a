"""Backups by a role that is no superuser, which owns its database and everything in it."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.core.errors import StartupError
from app.db.backup.create import make_backup
from app.db.backup.restore import discard_kept, restore_backup, undo_restore, verify_backup
from app.db.engine import connect
from tests.support.backups import beside, deployment, name_of
from tests.support.chain import dump, execute, rows_of
from tests.support.postgres import run_outside_transaction
from tests.support.service import settings_for


@pytest.fixture
def legacy_url(server_url: str) -> Iterator[str]:
    """A deployment, behind this code."""
    with deployment(server_url) as url:
        yield url


@pytest.fixture
def role(server_url: str, legacy_url: str) -> Iterator[str]:
    name = f"role_{uuid.uuid4().hex}"
    everything = f"""
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'
        LOOP EXECUTE 'ALTER TABLE ' || name || ' OWNER TO {name}'; END LOOP;
    END $$
    """
    run_outside_transaction(server_url, f"CREATE ROLE {name} LOGIN CREATEDB PASSWORD '{name}'")
    try:
        run_outside_transaction(legacy_url, everything, f"ALTER DATABASE {name_of(legacy_url)} OWNER TO {name}")
        yield name
    finally:
        for database in (*beside(legacy_url), name_of(legacy_url)):
            run_outside_transaction(server_url, f'DROP DATABASE "{database}" WITH (FORCE)')
        run_outside_transaction(server_url, f"DROP ROLE {name}", f"CREATE DATABASE {name_of(legacy_url)}")


@pytest.fixture
def role_url(legacy_url: str, role: str) -> str:
    address = make_url(legacy_url).set(username=role, password=role)
    return address.render_as_string(hide_password=False)


def test_its_owner_can_do_all_of_it(role_url: str, tmp_path: Path) -> None:
    settings = settings_for(role_url, tmp_path / "data")
    backup = make_backup(settings, role_url, "command")
    before = dump(role_url)

    assert all(finding.agrees for finding in verify_backup(settings, role_url, backup))
    restore_backup(settings, role_url, backup)
    assert dump(role_url) == before
    discard_kept(role_url, undo_restore(role_url))


def test_without_createdb(role_url: str, role: str, server_url: str, tmp_path: Path) -> None:
    settings = settings_for(role_url, tmp_path / "data")
    backup = make_backup(settings, role_url, "command")
    run_outside_transaction(server_url, f"ALTER ROLE {role} NOCREATEDB")

    for action in (verify_backup, restore_backup):
        with pytest.raises(StartupError, match=rf'may not create databases.*`ALTER ROLE "{role}" CREATEDB`'):
            action(settings, role_url, backup)


def test_not_the_owner(role_url: str, role: str, legacy_url: str, tmp_path: Path) -> None:
    settings = settings_for(role_url, tmp_path / "data")
    backup = make_backup(settings, role_url, "command")
    owner = make_url(legacy_url).username
    run_outside_transaction(legacy_url, f"ALTER DATABASE {name_of(legacy_url)} OWNER TO {owner}")

    with pytest.raises(StartupError, match=rf"{role} does not own the database .* of {owner} or of a superuser"):
        restore_backup(settings, role_url, backup)


def test_foreign_table_that_it_may_not_read(role_url: str, legacy_url: str, tmp_path: Path) -> None:
    execute(legacy_url, "CREATE TABLE secrets (id int)")

    with pytest.raises(StartupError, match=r"^The backup of .* failed: permission denied for table secrets.$"):
        make_backup(settings_for(role_url, tmp_path), role_url, "command")


@pytest.mark.slow
def test_session_that_it_may_not_end(
    role_url: str, legacy_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(role_url, tmp_path / "data")
    backup = make_backup(settings, role_url, "command")
    monkeypatch.setattr("app.db.backup.swap.GIVE_UP_AFTER", 0)
    with connect(legacy_url) as superusers:
        superusers.exec_driver_sql("SET application_name = 'psql'")
        superusers.commit()
        with pytest.raises(StartupError, match=r"is in use and was left as it is .*process"):
            restore_backup(settings, role_url, backup)
    assert rows_of(role_url, "users")[0]["email"] == "founder@desk.test"
