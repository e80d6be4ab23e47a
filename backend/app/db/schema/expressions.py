"""Which SQL expressions mean the same: decided by PostgreSQL's own parser, not by how they are written."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, InternalError, NotSupportedError, ProgrammingError

from app.db.schema.tables import Expression, Table

Meanings = Mapping[Expression, str]


def read_meanings(
    connection: Connection,
    expressions: Iterable[Expression],
    tables: Mapping[str, Table],
) -> Meanings:
    """Each expression as the planner deparses it over the columns of its table in `tables`.

    `role IN ('a', 'b')` and what PostgreSQL stores for it come out alike. Nothing is executed and no table
    is touched: EXPLAIN plans the expressions over an empty record of the same columns. Expressions that
    cannot be planned, such as one about a column of another type, are left out.
    """
    ordered = sorted(expressions)
    if not ordered:
        return {}
    try:
        with connection.begin_nested():
            return _explain(connection, ordered, tables)
    except (DataError, InternalError, NotSupportedError, ProgrammingError):
        if len(ordered) == 1:
            return {}
    middle = len(ordered) // 2
    halves = (ordered[:middle], ordered[middle:])
    return {key: value for half in halves for key, value in read_meanings(connection, half, tables).items()}


def same(meanings: Meanings, one: Expression | None, other: Expression | None) -> bool:
    if one is None or other is None or one == other:
        return one == other
    meaning = meanings.get(one)
    return meaning is not None and meaning == meanings.get(other)


def _explain(
    connection: Connection,
    ordered: list[Expression],
    tables: Mapping[str, Table],
) -> dict[Expression, str]:
    by_table = {table: list(group) for table, group in groupby(ordered, key=lambda each: each.table)}
    width = max(map(len, by_table.values()))
    arms = [_arm(tables[table], group, width) for table, group in by_table.items()]
    arms.append(f"SELECT {', '.join(['NULL::text'] * width)}")  # alone in a plan, a table would not be named
    plan = connection.exec_driver_sql(
        f"EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) {' UNION ALL '.join(arms)}",
        execution_options={"no_parameters": True},
    ).scalar_one()[0]["Plan"]
    scans: list[dict[str, Any]] = plan["Plans"]
    outputs = {scan["Alias"]: scan["Output"] for scan in scans if "Alias" in scan}
    return {
        expression: output
        for table, group in by_table.items()
        for expression, output in zip(group, outputs[table], strict=False)
    }


def _arm(table: Table, group: list[Expression], width: int) -> str:
    """One SELECT for each table: within a plan the table's name then stands for it alone."""
    values = [f"CAST({_cast(each)} AS text)" for each in group]
    values += ["NULL::text"] * (width - len(group))
    columns = ", ".join(f"{_quoted(column.name)} {column.full_type}" for column in table.columns)
    return f"SELECT {', '.join(values)} FROM json_to_recordset('[]') AS {_quoted(table.name)}({columns})"


def _cast(expression: Expression) -> str:
    return f"CAST(({expression.sql}) AS {expression.type})" if expression.type else f"({expression.sql})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
