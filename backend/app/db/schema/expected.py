"""What the models ask for, in the words of `app.db.schema.tables`."""

from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Computed,
    ForeignKeyConstraint,
    Identity,
    MetaData,
    PrimaryKeyConstraint,
    UniqueConstraint,
    create_engine,
    literal,
)
from sqlalchemy import Column as ModelColumn
from sqlalchemy import Constraint as ModelConstraint
from sqlalchemy import Index as ModelIndex
from sqlalchemy import Table as ModelTable
from sqlalchemy.schema import DefaultClause
from sqlalchemy.sql import ClauseElement, operators
from sqlalchemy.sql.elements import BinaryExpression, UnaryExpression

from app.db.schema.tables import Column, Constraint, Expression, Index, Key, Table, spoken_type

DIALECT = create_engine("postgresql+psycopg2://", paramstyle="named").dialect
"""The driver's own parameter style would double every percent sign."""

_ORDERS: dict[Any, str] = {
    operators.asc_op: "",
    operators.desc_op: "DESC",
    operators.nulls_first_op: "NULLS FIRST",
    operators.nulls_last_op: "NULLS LAST",
}
_AS_BY_DEFAULT = {"DESC NULLS FIRST": "DESC", "NULLS LAST": ""}


def expected_tables(metadata: MetaData) -> dict[str, Table]:
    """Each table of the models by its name.

    Raises:
        TypeError: the models use a kind of constraint that is not compared yet.
    """
    return {
        table.name: Table(
            table.name,
            tuple(_column(column) for column in table.columns),
            tuple(_index(table, index) for index in sorted(table.indexes, key=_name)),
            tuple(_constraint(table, each) for each in sorted(table.constraints, key=_name)),
            triggers=table.info.get("triggers", {}),
        )
        for table in metadata.sorted_tables
    }


def _column(column: ModelColumn[Any]) -> Column:
    default = column.server_default
    kind = spoken_type(column.type.compile(dialect=DIALECT).partition(" COLLATE ")[0])
    sql = None
    if isinstance(default, Computed):
        sql = _sql(default.sqltext)
    elif isinstance(default, DefaultClause):
        sql = _sql(literal(default.arg) if isinstance(default.arg, str) else default.arg)
    return Column(
        column.name,
        kind,
        bool(column.nullable),
        Expression(column.table.name, sql, kind) if sql else None,
        getattr(column.type, "collation", None),
        numbered=isinstance(default, Identity) or (default is None and _is_serial(column)),
        generated=isinstance(default, Computed),
    )


def _is_serial(column: ModelColumn[Any]) -> bool:
    return column is column.table.autoincrement_column


def _index(table: ModelTable, index: ModelIndex) -> Index:
    options = index.dialect_options["postgresql"]
    where = options["where"]
    return Index(
        _name(index),
        tuple(_key(table.name, each, options["ops"]) for each in index.expressions),
        bool(index.unique),
        options["using"] or "btree",
        tuple(each if isinstance(each, str) else each.name for each in options["include"] or ()),
        options["nulls_not_distinct"] is not True,
        Expression(table.name, _sql(where)) if where is not None else None,
    )


def _key(table: str, key: Any, operator_classes: dict[str, str]) -> Key:
    orders: list[str] = []
    options = [operator_classes[key.key]] if getattr(key, "key", None) in operator_classes else []
    while isinstance(key, UnaryExpression) and key.modifier in _ORDERS:
        orders.insert(0, _ORDERS[key.modifier])
        key = key.element
    if isinstance(key, BinaryExpression) and key.operator is operators.collate:
        options.insert(0, f"COLLATE {key.right.collation}")
        key = key.left
    order = " ".join(filter(None, orders))
    options.append(_AS_BY_DEFAULT.get(order, order))
    by = key.name if isinstance(key, ModelColumn) else Expression(table, _sql(key))
    return Key(by, " ".join(filter(None, options)))


def _constraint(table: ModelTable, constraint: ModelConstraint) -> Constraint:
    name = _name(constraint)
    match constraint:
        case PrimaryKeyConstraint():
            return Constraint(name, "primary key", f"PRIMARY KEY ({_names(constraint)})")
        case UniqueConstraint():
            return Constraint(name, "unique constraint", _unique(constraint))
        case ForeignKeyConstraint():
            return Constraint(name, "foreign key", _foreign_key(constraint))
        case CheckConstraint():
            sql = _sql(constraint.sqltext)
            return Constraint(name, "check", f"CHECK ({sql})", Expression(table.name, sql))
        case _:
            raise TypeError(f"{table.name}.{name}: {type(constraint).__name__} is not compared yet")


def _unique(constraint: UniqueConstraint) -> str:
    alike = constraint.dialect_options["postgresql"]["nulls_not_distinct"]
    return f"UNIQUE{' NULLS NOT DISTINCT' if alike else ''} ({_names(constraint)}){_timing(constraint)}"


def _foreign_key(constraint: ForeignKeyConstraint) -> str:
    targets = [element.column for element in constraint.elements]
    actions = "".join(
        f" ON {event} {action.upper()}"
        for event, action in (("UPDATE", constraint.onupdate), ("DELETE", constraint.ondelete))
        if action and action.upper() != "NO ACTION"
    )
    return (
        f"FOREIGN KEY ({_names(constraint)}) REFERENCES {targets[0].table.name}"
        f"({', '.join(column.name for column in targets)}){actions}{_timing(constraint)}"
    )


def _timing(constraint: ModelConstraint) -> str:
    deferred = (constraint.initially or "").upper() == "DEFERRED"
    if deferred:
        return " DEFERRABLE INITIALLY DEFERRED"
    return " DEFERRABLE" if constraint.deferrable else ""


def _name(named: ModelIndex | ModelConstraint) -> str:
    """The naming convention has filled it in."""
    return str(named.name)


def _names(constraint: PrimaryKeyConstraint | UniqueConstraint | ForeignKeyConstraint) -> str:
    return ", ".join(column.name for column in constraint.columns)


def _sql(element: ClauseElement) -> str:
    arguments = {"literal_binds": True, "include_table": False}
    return str(element.compile(dialect=DIALECT, compile_kwargs=arguments))
