"""Triggers that a revision made, and what becomes of them."""

import pytest

from app.db.schema.report import inspect_schema
from tests.db.support import lines, staged

TABLES, EVENTS = ("users", "user_sessions", "api_tokens"), ("update", "delete", "truncate")
FOREIGN = "BEFORE UPDATE ON {} EXECUTE FUNCTION suppress_redundant_updates_trigger()"


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        (["DROP TRIGGER revocations_on_update ON users"], ["users.revocations_on_update: missing trigger"]),
        (
            ["ALTER TABLE users DISABLE TRIGGER revocations_on_update"],
            ["users.revocations_on_update: disabled trigger"],
        ),
        (
            ["ALTER TABLE api_tokens ENABLE REPLICA TRIGGER revocations_on_delete"],
            ["api_tokens.revocations_on_delete: disabled trigger"],
        ),
        (
            ["ALTER TABLE user_sessions ENABLE TRIGGER USER"],  # and no more by whoever replicates
            [f"user_sessions.revocations_on_{event}: different trigger" for event in EVENTS],
        ),
        (
            ["ALTER TABLE users DISABLE TRIGGER USER", "ALTER TABLE users ENABLE ALWAYS TRIGGER revocations_on_update"],
            [f"users.revocations_on_{event}: disabled trigger" for event in ("delete", "truncate")],
        ),
        (
            [f"CREATE OR REPLACE TRIGGER revocations_on_delete {FOREIGN.format('users')}"],
            ["users.revocations_on_delete: different trigger"],
        ),
        (
            ["DROP FUNCTION tell_revocations CASCADE"],
            [f"{table}.revocations_on_{event}: missing trigger" for table in TABLES for event in EVENTS],
        ),
        (
            [
                "CREATE TABLE strategies (id integer)",
                f"CREATE TRIGGER revocations_on_update {FOREIGN.format('strategies')}",
                "DROP TRIGGER revocations_on_update ON users",
            ],
            ["users.revocations_on_update: missing trigger"],
        ),
    ],
    ids=[
        "dropped",
        "disabled",
        "for replicas alone",
        "enabled anew",
        "one is enabled",
        "another one",
        "without their function",
        "on another table",
    ],
)
def test_what_does_not_tell_is_degrading(clone_url: str, statements: list[str], expected: list[str]) -> None:
    with staged(clone_url, *statements) as connection:
        report = inspect_schema(connection)

    assert lines(report) == sorted(f"degrading {line}" for line in expected)
    assert report.usable
    assert report.ok == (not expected)


@pytest.mark.parametrize(
    ("trigger", "severity", "what"),
    [
        (f"foreign {FOREIGN.format('users')}", "breaking", "extra trigger"),
        (
            f"foreign {FOREIGN.format('users')}; ALTER TABLE users DISABLE TRIGGER foreign",
            "harmless",
            "disabled trigger",
        ),
    ],
)
def test_triggers_of_others_are_judged_as_ever(clone_url: str, trigger: str, severity: str, what: str) -> None:
    with staged(clone_url, f"CREATE TRIGGER {trigger}".replace("foreign", '"foreign"')) as connection:
        assert lines(inspect_schema(connection)) == [f"{severity} users.foreign: {what}"]
