"""What the live database has: read from PostgreSQL's catalogs, never changed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping

from app.db.schema.queries import COLUMNS, CONSTRAINTS, INDEXES, ODDITIES, RELATIONS, SERVER
from app.db.schema.tables import Column, Constraint, Expression, Index, Key, Numbering, Oddity, Table, spoken_type

VERSION_TABLE = "alembic_version"


@dataclass(frozen=True)
class Server:
    database: str
    version: str
    role: str
    schemas: tuple[str, ...]
    """Those of the search path that exist and that the role may use."""


@dataclass(frozen=True)
class Catalog:
    server: Server
    tables: dict[str, Table]
    unmanaged: tuple[str, ...]
    version_readable: bool
    """False when the role may not read the table of revisions."""


class Position(NamedTuple):
    """Where a sequence stands; `highest` is None in an empty table."""

    next: int
    highest: int | None


def read_catalog(connection: Connection, managed: Iterable[str]) -> Catalog:
    """Read the tables named in `managed`, found along the search path, and the names of the others."""
    server = connection.execute(SERVER).mappings().one()
    names = {*managed, VERSION_TABLE}
    relations = connection.execute(RELATIONS).mappings().all()
    ours = {row["name"]: row for row in relations if row["name"] in names}
    version = ours.pop(VERSION_TABLE, None)
    others = (row["spelled"] for row in relations if row["listed"] and row["name"] not in names)
    return Catalog(
        Server(server["database"], server["version"], server["role"], tuple(server["schemas"])),
        _read_tables(connection, {row["oid"]: name for name, row in ours.items()}),
        tuple(sorted(others)),
        version is None or version["readable"],
    )


def read_positions(connection: Connection, tables: Iterable[Table]) -> dict[str, Position]:
    """Where the readable sequences stand, by name; each maximum costs one descent of the key's index."""
    numberings = {each.sequence: each for table in tables for each in table.numberings if each.readable}
    if not numberings:
        return {}
    arms = (
        f"SELECT {index} AS position, last_value + CASE WHEN is_called THEN 1 ELSE 0 END AS next, "
        f"(SELECT max({each.column}) FROM {each.table}) AS highest FROM {each.sequence}"
        for index, each in enumerate(numberings.values())
    )
    rows = connection.exec_driver_sql(" UNION ALL ".join(arms), execution_options={"no_parameters": True})
    found = {row.position: Position(row.next, row.highest) for row in rows}
    return {sequence: found[index] for index, sequence in enumerate(numberings)}


def _read_tables(connection: Connection, names: Mapping[int, str]) -> dict[str, Table]:
    oids = {"oids": list(names)}
    columns, indexes, constraints, oddities = (
        _by_table(connection.execute(query, oids).mappings().all())
        for query in (COLUMNS, INDEXES, CONSTRAINTS, ODDITIES)
    )
    return {
        name: Table(
            name,
            tuple(_column(name, row) for row in columns.get(oid, ())),
            tuple(_index(name, row) for row in indexes.get(oid, ())),
            tuple(_constraint(name, row) for row in constraints.get(oid, ())),
            tuple(Oddity(row["what"], row["object"], row["definition"]) for row in oddities.get(oid, ())),
            tuple(_numbering(row) for row in columns.get(oid, ()) if row["sequence"]),
        )
        for oid, name in names.items()
    }


def _by_table(rows: Sequence[RowMapping]) -> dict[int, list[RowMapping]]:
    """The queries sort by table."""
    return {oid: list(group) for oid, group in groupby(rows, key=lambda row: row["table"])}


def _column(table: str, row: RowMapping) -> Column:
    kind = spoken_type(row["type"])
    default = Expression(table, row["default"], kind) if row["default"] and not row["sequence"] else None
    return Column(
        row["name"],
        kind,
        row["nullable"],
        default,
        row["collation"],
        numbered=bool(row["sequence"]),
        generated=row["generated"],
        withheld=tuple(row["withheld"]),
    )


def _index(table: str, row: RowMapping) -> Index:
    keys: list[dict[str, Any]] = row["keys"]
    return Index(
        row["name"],
        tuple(Key(key["column"] or Expression(table, key["expression"]), key["options"]) for key in keys),
        row["unique"],
        row["method"],
        tuple(row["include"]),
        row["nulls_distinct"],
        Expression(table, row["where"]) if row["where"] else None,
        row["valid"],
    )


def _constraint(table: str, row: RowMapping) -> Constraint:
    check = Expression(table, row["expression"]) if row["expression"] else None
    return Constraint(row["name"], row["kind"], row["definition"], check, row["valid"])


def _numbering(row: RowMapping) -> Numbering:
    return Numbering(row["quoted"], row["relation"], row["sequence"], row["readable"], row["usable"])
