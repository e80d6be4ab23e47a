"""What stands in the way of a revision is told before anything is changed."""

import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from app.core.errors import StartupError
from app.db.backup.folder import BackupFolder
from app.db.engine import connect
from app.db.migration.ddl import Refusal
from app.db.migration.migrate import migrate
from app.db.migration.preconditions import check_preconditions
from app.db.revisions import VERSIONS, head_revision
from tests.support.backups import migrate_with_backup
from tests.support.chain import (
    ACCOUNTS,
    INITIAL,
    SEQUENCES,
    USERNAMES,
    catalog,
    dump,
    execute,
    fetch,
    revision_of,
    shell,
    upgrade,
)
from tests.support.deployment import DUPLICATES, deploy
from tests.support.postgres import address_of, run_outside_transaction
from tests.support.service import settings_for

SETTLE = """
UPDATE users SET email = 'ben@desk.test', username = NULL WHERE id = 3;
UPDATE users SET username = NULL WHERE id = 6;
"""


def add(url: str, *emails: str | None) -> None:
    for email in emails:
        value = "NULL" if email is None else f"'{email}'"
        execute(
            url,
            f"INSERT INTO users (email, created_at, updated_at, preferences) VALUES ({value}, now(), now(), '{{}}')",
        )


def refusal(url: str) -> str:
    with pytest.raises(StartupError) as raised:
        migrate(url, apply=True)
    return str(raised.value)


class TestDuplicates:
    def test_they_are_listed_with_what_to_type_and_nothing_is_changed(self, empty_url: str, tmp_path: Path) -> None:
        deploy(empty_url)
        execute(empty_url, DUPLICATES)
        before = dump(empty_url)
        settings = settings_for(empty_url, tmp_path, backup_before_migration="always")
        with pytest.raises(Refusal) as raised:
            migrate_with_backup(settings, empty_url)
        said = str(raised.value)
        assert 'email of 2 "Ana@desk.test", 3 "ana@desk.test"; username of 2 "trader", 3 "trader", 6 "Trader". ' in said
        assert "`UPDATE users SET email = '...' WHERE id = ...`, `UPDATE users SET username = '...' WHERE id" in said
        assert "\n" not in said
        assert dump(empty_url) == before
        assert BackupFolder(settings.data).backups() == []

        execute(empty_url, SETTLE)
        migrate(empty_url, apply=True)
        assert revision_of(empty_url) == [head_revision()]

    @pytest.mark.slow
    def test_the_shell_refuses_as_well_and_goes_as_far_as_it_may(self, empty_url: str) -> None:
        deploy(empty_url)
        execute(empty_url, DUPLICATES)
        before = dump(empty_url)
        for destination in ("head", "+3"):
            done = shell(empty_url, "upgrade", destination)
            assert done.returncode != 0
            assert "FAILED: From revision b41d6f0c92e7 on" in done.stdout + done.stderr
            assert dump(empty_url) == before
        assert shell(empty_url, "upgrade", "+2").returncode == 0
        assert revision_of(empty_url) == [SEQUENCES]

    @pytest.mark.parametrize(
        "revision",
        [INITIAL, *(pytest.param(each, marks=pytest.mark.slow) for each in (ACCOUNTS, USERNAMES)), SEQUENCES],
    )
    @pytest.mark.parametrize(
        "emails",
        [
            ("ana@desk.test", "ANA@desk.test"),
            ("ana@desk.test", "\uff41na@desk.test"),
            ("strasse@desk.test", "Straße@desk.test"),
        ],
        ids=["case", "width", "sharp s"],
    )
    def test_whatever_revision_the_database_is_at(self, empty_url: str, revision: str, emails: tuple[str, str]) -> None:
        upgrade(empty_url, revision)
        if revision != INITIAL:
            execute(empty_url, "ALTER TABLE users ALTER COLUMN password_hash SET DEFAULT ''")
        add(empty_url, *emails, "other@desk.test")
        assert f'share some: email of 1 "{emails[0]}", 2 "{emails[1]}". ' in refusal(empty_url)
        assert revision_of(empty_url) == [revision]

    def test_no_address_and_no_username_are_shared_by_nobody(self, empty_url: str) -> None:
        upgrade(empty_url, INITIAL)
        add(empty_url, None, None)
        upgrade(empty_url, USERNAMES)
        execute(empty_url, "UPDATE users SET username = ''")
        migrate(empty_url, apply=True)
        assert fetch(empty_url, "SELECT username FROM users") == [{"username": ""}] * 2

    def test_of_many_the_first_ten_are_listed(self, empty_url: str) -> None:
        upgrade(empty_url, SEQUENCES)
        add(empty_url, *(f"{number}{'x' * case}@desk.test" for number in range(12) for case in range(2)))
        execute(empty_url, "UPDATE users SET email = upper(replace(email, 'x', '')) WHERE email LIKE '%%x%%'")
        said = refusal(empty_url)
        assert said.count("email of") == 10
        assert '; email of 19 "9@desk.test", 20 "9@DESK.TEST"; and more of email. ' in said

    def test_of_a_name_that_many_share_the_first_ten_are_listed(self, empty_url: str) -> None:
        upgrade(empty_url, SEQUENCES)
        add(empty_url, *(f"{number}@desk.test" for number in range(12)))
        execute(empty_url, """UPDATE users SET username = E'trader\n'""")
        assert '9 "trader\\n", 10 "trader\\n", .... The database stays' in refusal(empty_url)

    @pytest.mark.slow
    def test_one_that_came_meanwhile_ends_the_revision_which_leaves_nothing(self, empty_url: str) -> None:
        upgrade(empty_url, SEQUENCES)
        add(empty_url, "ana@desk.test", "ANA@desk.test")
        before = dump(empty_url)
        with pytest.raises(Refusal, match=r'email of 1 "ana@desk\.test", 2 "ANA@desk\.test"'):
            upgrade(empty_url)  # by the library's function, which asks nothing beforehand
        assert dump(empty_url) == before
        execute(empty_url, "DELETE FROM users WHERE id = 2")
        upgrade(empty_url)
        assert revision_of(empty_url) == [head_revision()]


def test_a_database_that_cannot_hold_unicode_is_refused(server_url: str) -> None:
    name = f"latin_{uuid.uuid4().hex}"
    run_outside_transaction(server_url, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    try:
        url = address_of(server_url, name)
        assert "The database's encoding is LATIN1" in refusal(url)
        assert catalog(url) == {}
    finally:
        run_outside_transaction(server_url, f"DROP DATABASE {name}")


class TestCheck:
    """The mechanism, over revisions made up."""

    def check(self, url: str, *preconditions: Any) -> None:
        pending = [SimpleNamespace(module=SimpleNamespace(precondition=each)) for each in preconditions]
        scripts = SimpleNamespace(iterate_revisions=lambda *_, **__: reversed([SimpleNamespace(module=None), *pending]))
        with connect(url) as connection:
            check_preconditions(connection, cast(ScriptDirectory, scripts), "head")
            connection.commit()

    def test_every_one_is_asked_oldest_first_and_leaves_nothing(self, clone_url: str) -> None:
        asked: list[int] = []

        def ask(connection: Connection) -> None:
            connection.exec_driver_sql("CREATE TABLE draft ()")
            asked.append(len(asked))

        self.check(clone_url, ask, ask)
        assert asked == [0, 1]
        assert "draft" not in catalog(clone_url)

    def test_a_destination_that_is_none_is_said_so(self, clone_url: str) -> None:
        with connect(clone_url) as connection, pytest.raises(CommandError, match="nowhere"):
            check_preconditions(connection, ScriptDirectory(str(VERSIONS.parent)), "nowhere")
