"""Replicas that migrate one database at the same moment, as processes."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import text

from app.db.engine import connect
from app.db.migration.lock import LOCK_KEY
from app.db.revisions import head_revision
from app.db.schema.report import inspect_schema
from tests.support.chain import execute, revision_of
from tests.support.service import Running, running

MEMBER = """
import logging, sys, time
from itertools import count
from pathlib import Path
from app.core.errors import StartupError
from app.db.migration.migrate import migrate
logging.basicConfig(level=logging.INFO, format="%(message)s")
gates = Path(sys.argv[1])
print("ready", flush=True)
for number in count(1):
    gate = gates / str(number)
    while not gate.exists():
        time.sleep(0.002)
    try:
        migrate(gate.read_text(), apply=True)
    except StartupError as error:
        sys.exit(str(error))
    print("done", flush=True)
"""

DAWDLE = """
CREATE SCHEMA staging;
CREATE SEQUENCE staging.turns;
CREATE FUNCTION staging.dawdle() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF strpos(current_query(), '{part}') > 0 AND nextval('staging.turns') <= {turns} THEN
        PERFORM pg_sleep({seconds});
    END IF;
END
$$;
CREATE EVENT TRIGGER dawdle ON ddl_command_start EXECUTE FUNCTION staging.dawdle();
"""

AT_WORK = text("SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()")

HOLDERS = text(
    "SELECT pid FROM pg_locks JOIN pg_database ON oid = database "
    "WHERE locktype = 'advisory' AND granted AND datname = current_database() "
    "AND (classid::bigint << 32) + objid::bigint = :key"
)


class Crowd:
    """Processes that wait at one gate after another and, when it opens, migrate the database that it names."""

    def __init__(self, members: list[Running], gates: Path) -> None:
        self.members = members
        self._gates = gates
        self._opened = 0
        self._read = [0] * len(members)

    def release(self, url: str) -> None:
        """Let all of them go at once."""
        self._opened += 1
        draft = self._gates / "draft"
        draft.write_text(url, encoding="utf-8")
        draft.rename(self._gates / str(self._opened))

    def is_done(self, member: Running) -> bool:
        return member.printed().count("done") == self._opened

    def wait_until_done(self) -> None:
        for member in self.members:
            member.wait_for(partial(self.is_done, member))

    def new_logs(self) -> list[str]:
        """What each of them has logged since the last call."""
        logs = [member.logged() for member in self.members]
        new = [log[read:] for log, read in zip(logs, self._read, strict=True)]
        self._read = [len(log) for log in logs]
        return new


@contextmanager
def gathered(folder: Path, size: int) -> Iterator[Crowd]:
    """A crowd that stands at the first gate; none of it is left afterwards."""
    gates = folder / "gates"
    gates.mkdir()
    arguments = ("-c", MEMBER, str(gates))
    with ExitStack() as stack:
        members = [stack.enter_context(running(folder, {"PYTHONPATH": "."}, *arguments)) for _ in range(size)]
        for member in members:
            member.wait_for(member.printed)
        yield Crowd(members, gates)


def dawdle(url: str, part: str, seconds: float, turns: int = 1) -> None:
    """Have the next statements that change the schema and contain `part` take so much longer, `turns` of them."""
    execute(url, DAWDLE.format(part=part, seconds=seconds, turns=turns))


def at_work(url: str) -> list[int]:
    """The backends that dawdle."""
    with connect(url) as connection:
        return list(connection.scalars(AT_WORK))


def holders(url: str) -> list[int]:
    """The backends that have the migration lock: one, or none."""
    with connect(url) as connection:
        return list(connection.scalars(HOLDERS, {"key": LOCK_KEY}))


def wait_for_work(url: str) -> int:
    """The backend that dawdles, as soon as one does."""
    deadline = time.monotonic() + 30
    while not (found := at_work(url)):
        assert time.monotonic() < deadline, "no statement dawdles"
        time.sleep(0.02)
    (backend,) = found
    return backend


def assert_at_head(url: str) -> None:
    """With nothing that differs from the models."""
    assert revision_of(url) == [head_revision()]
    with connect(url) as connection:
        assert inspect_schema(connection).drift == ()
