"""Whom a transaction tells of revocations, as a connection of its own hears it."""

import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import psycopg2
from sqlalchemy import make_url

PEOPLE = """
TRUNCATE users CASCADE;
INSERT INTO users (id, email, created_at, updated_at, preferences)
    SELECT n, n || '@desk.test', now(), now(), '{}' FROM generate_series(1, 3) n;
INSERT INTO user_sessions
    (id, user_id, access_token_jti, refresh_token_jti, expires_at, last_activity_at, created_at)
    SELECT id, user_id, id, id, '2030-01-01', '2026-01-01', '2026-01-01'
      FROM (VALUES (11, 1), (12, 1), (21, 2)) AS v (id, user_id);
INSERT INTO api_tokens (id, user_id, name, prefix, secret_hash, scopes)
    SELECT id, user_id, 'one', id, sha256(id::text::bytea), '{read}'
      FROM (VALUES (31, 1), (32, 2), (33, 2)) AS v (id, user_id);
"""


class Ear(NamedTuple):
    """One connection that listens and another one that changes things."""

    url: str
    listening: Any
    changing: Any

    def hears(self, *scripts: str) -> list[str]:
        """What is told of the scripts, each a transaction, beginning with what PEOPLE leaves."""
        self._run(PEOPLE)
        self.heard()
        for script in scripts:
            self._run(script)
        return self.heard()

    def _run(self, script: str) -> None:
        with self.changing, self.changing.cursor() as cursor:
            cursor.execute(script)

    def heard(self) -> list[str]:
        """All that was told before this call, as it came."""
        end, deadline = uuid.uuid4().hex, time.monotonic() + 10
        with self.listening.cursor() as cursor:
            cursor.execute("SELECT pg_notify('revocations', %s)", [end])
        while not (notifies := self.listening.notifies) or notifies[-1].payload != end:
            assert time.monotonic() < deadline
            self.listening.poll()
        heard, notifies[:] = [each.payload for each in notifies[:-1]], []
        return heard


@contextmanager
def listening(url: str) -> Iterator[Ear]:
    """To the database at `url`."""
    with _driver(url) as hearing, _driver(url) as changing:
        hearing.autocommit = True
        with hearing.cursor() as cursor:
            cursor.execute("LISTEN revocations")
        yield Ear(url, hearing, changing)


@contextmanager
def _driver(url: str) -> Iterator[Any]:
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg2.connect(address)) as connection:
        yield connection
