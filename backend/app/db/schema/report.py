"""The schema report: the live database beside the models, for people, machines and the start."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from sqlalchemy import Connection, MetaData

from app.db.revisions import current_revisions, head_revision, pending_revisions
from app.db.schema.catalog import VERSION_TABLE, Catalog, Server, read_catalog, read_positions
from app.db.schema.drift import Drift, compare, expressions
from app.db.schema.expected import expected_tables
from app.db.schema.expressions import Meanings, read_meanings
from app.db.schema.tables import Column, Table
from app.models.database import User

Mark = Literal["ok", "missing", "extra", "different"]

_MARKS: dict[str, Mark] = {
    "missing column": "missing",
    "extra column": "extra",
    "different default": "different",
    "different generation": "different",
    "different nullability": "different",
    "different numbering": "different",
    "different type": "different",
}


@dataclass(frozen=True)
class ColumnReport:
    number: int | None
    """Its place among the live columns, from 1; None for a missing one, which stands where it should be."""
    name: str
    type: str
    nullable: bool
    default: str | None
    mark: Mark
    expected: str | None


@dataclass(frozen=True)
class TableReport:
    name: str
    mark: Mark
    columns: tuple[ColumnReport, ...]

    def column(self, name: str) -> ColumnReport | None:
        return next((column for column in self.columns if column.name == name and column.number), None)


@dataclass(frozen=True)
class Revisions:
    current: tuple[str, ...]
    head: str
    pending: tuple[str, ...]
    """What an upgrade would apply, in order; empty when `current` is no revision of this code."""
    known: bool


@dataclass(frozen=True)
class SchemaReport:
    server: Server
    tables: tuple[TableReport, ...]
    unmanaged: tuple[str, ...]
    drift: tuple[Drift, ...]
    revisions: Revisions

    @property
    def usable(self) -> bool:
        """The live tables fit the models, whatever the revision."""
        return not any(drift.breaking for drift in self.drift)

    @property
    def fits(self) -> bool:
        """Code that does not know the revision can work with the tables."""
        return not any(drift.misfit for drift in self.drift)

    @property
    def intact(self) -> bool:
        """Nothing that the models ask for is missing or different."""
        return all(drift.harmless for drift in self.drift)

    @property
    def ok(self) -> bool:
        return self.intact and self.revisions.current == (self.revisions.head,)

    def as_dict(self) -> dict[str, Any]:
        """The report in JSON's types."""
        return {"ok": self.ok, "usable": self.usable, **asdict(self)}


def inspect_schema(connection: Connection, metadata: MetaData = User.metadata) -> SchemaReport:
    """Compare the database with the models; reads only, in the connection's transaction.

    Waits for a table's lock no longer than the session's `lock_timeout` and `statement_timeout` allow.

    Raises:
        sqlalchemy.exc.OperationalError: the connection was lost, or a timeout ended the inspection.
    """
    expected = expected_tables(metadata)
    catalog = read_catalog(connection, expected)
    meanings = _meanings(connection, expected, catalog.tables)
    positions = read_positions(connection, catalog.tables.values())
    drift = tuple(compare(expected, catalog.tables, meanings, positions))
    if not catalog.version_readable:
        drift += (Drift(VERSION_TABLE, VERSION_TABLE, "missing privilege", expected="SELECT"),)
    return SchemaReport(
        catalog.server,
        tuple(_table(table, catalog.tables.get(name), drift) for name, table in expected.items()),
        catalog.unmanaged,
        drift,
        _revisions(connection, catalog),
    )


def _meanings(connection: Connection, expected: Mapping[str, Table], found: Mapping[str, Table]) -> Meanings:
    """Of what is not written alike on both sides, over the columns of both."""
    written = expressions({name: expected[name] for name in found}) ^ expressions(found)
    tables = {
        name: replace(table, columns=table.columns + _missing(expected[name], table)) for name, table in found.items()
    }
    return read_meanings(connection, written, tables)


def _missing(expected: Table, found: Table) -> tuple[Column, ...]:
    live = {column.name for column in found.columns}
    return tuple(column for column in expected.columns if column.name not in live)


def _table(expected: Table, found: Table | None, drift: tuple[Drift, ...]) -> TableReport:
    here = [entry for entry in drift if entry.table == expected.name]
    marks = {entry.object: _MARKS[entry.what] for entry in here if entry.what in _MARKS}
    wanted = {column.name: column for column in expected.columns}
    if found is None:
        columns = [_column(None, column, "missing", wanted) for column in expected.columns]
        return TableReport(expected.name, "missing", tuple(columns))
    columns = [
        _column(number, column, marks.get(column.name, "ok"), wanted)
        for number, column in enumerate(found.columns, start=1)
    ]
    for missing in _missing(expected, found):
        columns.insert(expected.columns.index(missing), _column(None, missing, "missing", wanted))
    return TableReport(expected.name, "different" if here else "ok", tuple(columns))


def _column(number: int | None, column: Column, mark: Mark, wanted: Mapping[str, Column]) -> ColumnReport:
    return ColumnReport(
        number,
        column.name,
        column.full_type,
        column.nullable,
        column.default.sql if column.default else None,
        mark,
        str(wanted[column.name]) if mark in ("missing", "different") else None,
    )


def _revisions(connection: Connection, catalog: Catalog) -> Revisions:
    current = tuple(current_revisions(connection)) if catalog.version_readable else ()
    try:
        pending = pending_revisions(current[0] if current else None)
    except KeyError:
        return Revisions(current, head_revision(), (), known=False)
    return Revisions(current, head_revision(), tuple(pending), known=True)
