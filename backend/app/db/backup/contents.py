"""What a database holds, in figures by which two databases are compared: rows, content hashes, sequences."""

from collections.abc import Mapping
from typing import NamedTuple, Self

from pydantic import BaseModel
from sqlalchemy import Connection, text

from app.db.migration.lock import OUTLIVE_TIMEOUTS

_PINNED = {
    "search_path": "",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_monetary": "C",
    "quote_all_identifiers": "off",
    "row_security": "off",  # an error rather than rows left out in silence
    "lock_timeout": "30s",
}
"""What the text of a row depends on besides the row, and how long a table's lock is waited for."""

_PIN = text("SELECT set_config(name, value, true) FROM unnest(:names, :values) AS pinned (name, value)")

# What pg_dump saves the data of: tables, partitions among them, but not those that CREATE EXTENSION makes.
_OBJECTS = text(
    """
    SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = :kind AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND NOT EXISTS (SELECT FROM pg_depend d
                        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
     ORDER BY 1
    """
)


Span = tuple[int, int]
"""The lowest and the highest of what a sequence's next value may be: it is no part of a snapshot, and may move on."""


class Table(BaseModel):
    rows: int
    hash: str
    """The sum of the rows' 64-bit hashes, which does not depend on their order."""


class Contents(BaseModel):
    """Every table and sequence outside the system's schemas, by its qualified and, where needed, quoted name."""

    tables: dict[str, Table]
    sequences: dict[str, Span]

    def until(self, sequences: Mapping[str, int]) -> Self:
        """The same, with sequences that may have moved on as far as `sequences`."""
        spans = {}
        for name, (first, _) in self.sequences.items():
            low, high = sorted((first, sequences[name]))
            spans[name] = (low, high)
        return self.model_copy(update={"sequences": spans})

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())


class Finding(NamedTuple):
    """One table's rows, or one sequence's next value, as they should be and as they are; None: there is no such."""

    name: str
    expected: int | None
    found: int | None
    agrees: bool


def read_contents(connection: Connection) -> Contents:
    """Read every row once, in the connection's transaction, whose settings this changes.

    The tables stay locked against TRUNCATE and ALTER TABLE, which snapshots do not see, until the transaction ends.

    Raises:
        sqlalchemy.exc.DBAPIError: a table may not be read, or could not be locked within 30 seconds.
    """
    connection.exec_driver_sql(OUTLIVE_TIMEOUTS)
    connection.execute(_PIN, {"names": list(_PINNED), "values": list(_PINNED.values())})
    return Contents(
        tables={name: _read_table(connection, name) for name in connection.scalars(_OBJECTS, {"kind": "r"})},
        sequences={name: (value, value) for name, value in read_sequences(connection).items()},
    )


def read_sequences(connection: Connection) -> dict[str, int]:
    """What each sequence would hand out next."""
    return {name: _next_value(connection, name) for name in connection.scalars(_OBJECTS, {"kind": "S"})}


def compare(expected: Contents, found: Contents) -> list[Finding]:
    """Every table, then every sequence, of both."""
    tables = sorted(expected.tables | found.tables)
    sequences = sorted(expected.sequences | found.sequences)
    return [
        *(_compare_tables(name, expected.tables.get(name), found.tables.get(name)) for name in tables),
        *(_compare_sequences(name, expected.sequences.get(name), found.sequences.get(name)) for name in sequences),
    ]


def _read_table(connection: Connection, name: str) -> Table:
    # `(t.*)` and not `t`, which would be a column of that name.
    query = """SELECT count(*), coalesce(sum(hashtextextended((t.*)::text COLLATE "C", 0)), 0)::text FROM """
    rows, total = connection.exec_driver_sql(f"{query} {_escaped(name)} AS t").one()
    return Table(rows=rows, hash=total)


def _next_value(connection: Connection, name: str) -> int:
    query = "SELECT last_value::numeric + CASE WHEN is_called THEN seqincrement ELSE 0 END FROM"
    at = f"{_escaped(name)}, pg_sequence WHERE seqrelid = %(name)s::regclass"
    return int(connection.exec_driver_sql(f"{query} {at}", {"name": name}).scalar_one())


def _escaped(name: str) -> str:
    return name.replace("%", "%%")


def _compare_tables(name: str, expected: Table | None, found: Table | None) -> Finding:
    return Finding(name, expected.rows if expected else None, found.rows if found else None, expected == found)


def _compare_sequences(name: str, expected: Span | None, found: Span | None) -> Finding:
    if expected is None or found is None:
        return Finding(name, expected[0] if expected else None, found[0] if found else None, agrees=False)
    (lowest, highest), (value, _) = expected, found
    return Finding(name, lowest, value, lowest <= value <= highest)
