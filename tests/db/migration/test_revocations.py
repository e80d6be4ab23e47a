"""Which statements tell whom."""

import io
import uuid
from collections.abc import Iterator

import psycopg2
import pytest

from tests.support import postgres
from tests.support.chain import execute, fetch
from tests.support.ear import Ear, listening

USERS = """
UPDATE users SET is_active = false WHERE id = 1
    1
UPDATE users SET role = 'owner' WHERE id IN (1, 3)
    1 3
UPDATE users SET full_name = full_name WHERE id = 2
    2
UPDATE users SET id = 9 WHERE id = 3
    3
UPDATE users SET role = 'owner' WHERE id = 99
UPDATE users SET role = 'owner' WHERE id = 1; UPDATE users SET role = 'member' WHERE id = 1
    1
DELETE FROM users WHERE id = 1
    1
DELETE FROM users WHERE id = 99
INSERT INTO users (id, email, created_at, updated_at, preferences) VALUES (7, 'new', now(), now(), '{}')
INSERT INTO users (id, email, created_at, updated_at, preferences) VALUES (2, '2', now(), now(), '{}') \
ON CONFLICT (id) DO UPDATE SET is_active = false
    2
INSERT INTO users (id, email, created_at, updated_at, preferences) VALUES (2, '2', now(), now(), '{}') \
ON CONFLICT (id) DO NOTHING
MERGE INTO users u USING (VALUES (1), (2), (7)) AS v (id) ON u.id = v.id WHEN MATCHED AND v.id = 1 THEN DELETE \
WHEN MATCHED THEN UPDATE SET is_active = false \
WHEN NOT MATCHED THEN INSERT (id, email, created_at, updated_at, preferences) VALUES (7, '', now(), now(), '{}')
    1 2
WITH gone AS (DELETE FROM users WHERE id = 3 RETURNING id) UPDATE users SET is_active = false WHERE id = 2
    2 3
TRUNCATE users CASCADE
    all
"""

SESSIONS = """
UPDATE user_sessions SET ended_at = now() WHERE id = 11
    1
UPDATE user_sessions SET ended_at = now() WHERE id IN (11, 12)
    1
UPDATE user_sessions SET ended_at = now()
    1 2
UPDATE user_sessions SET ended_at = NULL
UPDATE user_sessions SET expires_at = '2027-01-01' WHERE id = 21
    2
UPDATE user_sessions SET user_id = 3 WHERE id = 11
    1
UPDATE user_sessions SET id = 13 WHERE id = 11
    1
UPDATE user_sessions SET last_activity_at = '2026-01-02'
UPDATE user_sessions SET last_activity_at = '2025-12-31' WHERE id = 21
    2
UPDATE user_sessions SET ip_address = '::1', user_agent = 'x', end_reason = 'x', access_token_jti = id || 'x'
DELETE FROM user_sessions WHERE id = 21
    2
INSERT INTO user_sessions SELECT 14, 3, '', '', timezone('UTC', now()) - interval '25h', now(), NULL, NULL, now(); \
DELETE FROM user_sessions WHERE id = 14
INSERT INTO user_sessions SELECT 14, 3, '', '', timezone('UTC', now()) - interval '23h', now(), NULL, NULL, now(); \
DELETE FROM user_sessions WHERE id = 14
    3
INSERT INTO user_sessions SELECT 14, 1, 'x', 'x', expires_at, now(), NULL, NULL, now() FROM user_sessions WHERE id = 11
TRUNCATE user_sessions CASCADE
    all
"""

TOKENS = """
UPDATE api_tokens SET revoked_at = now() WHERE id = 31
    1
UPDATE api_tokens SET revoked_at = NULL, expires_at = NULL
UPDATE api_tokens SET scopes = '{read,write}' WHERE id IN (32, 33)
    2
UPDATE api_tokens SET expires_at = now() WHERE id = 32
    2
UPDATE api_tokens SET secret_hash = sha256('new') WHERE id = 32
    2
UPDATE api_tokens SET from_configuration = true WHERE id = 31
    1
UPDATE api_tokens SET user_id = 3 WHERE id = 31
    1
UPDATE api_tokens SET id = 39 WHERE id = 31
    1
UPDATE api_tokens SET last_used_at = now(), name = 'another', prefix = 'x'
DELETE FROM api_tokens
    1 2
INSERT INTO api_tokens (user_id, name, prefix, secret_hash, scopes) VALUES (1, 'two', 'x', sha256('two'), '{read}')
INSERT INTO api_tokens (id, user_id, name, prefix, secret_hash, scopes) VALUES (31, 1, '', '', sha256('x'), '{}') \
ON CONFLICT (id) DO UPDATE SET revoked_at = now()
    1
TRUNCATE api_tokens
    all
"""

ELSEWHERE = """
SET LOCAL session_replication_role = replica; UPDATE users SET is_active = false WHERE id = 1
    1
SET LOCAL session_replication_role = replica; DELETE FROM api_tokens WHERE id = 31
    1
SET LOCAL session_replication_role = replica; TRUNCATE user_sessions CASCADE
    all
SET LOCAL search_path = ''; UPDATE public.api_tokens SET revoked_at = now() WHERE id = 31
    1
SET LOCAL search_path = pg_temp, public; CREATE TEMP TABLE before (id int, user_id int) ON COMMIT DROP; \
DELETE FROM user_sessions WHERE id = 11
    1
SAVEPOINT one; DELETE FROM users WHERE id = 1; ROLLBACK TO one; DELETE FROM users WHERE id = 2
    2
UPDATE order_templates SET name = 'x'; DELETE FROM activity_log; DELETE FROM refresh_token_exchanges
"""


def cases(listing: str) -> list[tuple[str, list[str]]]:
    """Each transaction, and below it who is told."""
    parsed: list[tuple[str, list[str]]] = []
    for line in listing.strip().splitlines():
        if line.startswith(" "):
            parsed[-1][1].extend(line.split())
        else:
            parsed.append((line, []))
    return parsed


@pytest.fixture(scope="module")
def ear(server_url: str, template: str) -> Iterator[Ear]:
    with postgres.database(server_url, like=template) as url, listening(url) as ear:
        yield ear


@pytest.mark.parametrize(("script", "told"), [*cases(USERS), *cases(SESSIONS), *cases(TOKENS), *cases(ELSEWHERE)])
def test_who_is_told_of(ear: Ear, script: str, told: list[str]) -> None:
    assert sorted(ear.hears(script)) == told


def test_what_is_rolled_back_is_told_nobody(ear: Ear) -> None:
    assert ear.hears("DELETE FROM users; ROLLBACK") == []
    with pytest.raises(psycopg2.errors.DivisionByZero):
        ear.hears("DELETE FROM users; SELECT 1/0")
    assert ear.heard() == []


def test_each_transaction_tells_again(ear: Ear) -> None:
    change = "UPDATE users SET role = 'owner' WHERE id = 1"
    assert ear.hears(change, change) == ["1", "1"]


def test_rows_that_are_copied_in_tell_nobody(ear: Ear) -> None:
    assert ear.hears() == []
    with ear.changing, ear.changing.cursor() as cursor:
        row = io.StringIO(f"1\tcopied\tx\t\\\\x{'00' * 32}\t{{}}\n")
        cursor.copy_expert("COPY api_tokens (user_id, name, prefix, secret_hash, scopes) FROM STDIN", row)
    assert ear.heard() == []
    assert len(fetch(ear.url, "SELECT name FROM api_tokens WHERE name = 'copied'")) == 1


def test_a_role_that_may_change_the_tables_alone(ear: Ear) -> None:
    """Nothing is granted to it on the function, and PUBLIC may not call it."""
    role = f"role_{uuid.uuid4().hex}"
    execute(
        ear.url,
        "REVOKE ALL ON FUNCTION tell_revocations FROM PUBLIC",
        f"CREATE ROLE {role}; GRANT SELECT, UPDATE, DELETE ON users, user_sessions TO {role}",
    )
    try:
        changes = "UPDATE user_sessions SET ended_at = now() WHERE id = 21; DELETE FROM user_sessions WHERE id = 11"
        assert sorted(ear.hears(f"SET LOCAL ROLE {role}; {changes}")) == ["1", "2"]
    finally:
        execute(ear.url, f"DROP OWNED BY {role}; DROP ROLE {role}")
