"""Where a live database departs from the models, and whether the service can live with it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from app.db.schema.catalog import Position
from app.db.schema.expressions import Meanings, same
from app.db.schema.tables import Column, Constraint, Expression, Index, Oddity, Table

Severity = Literal["breaking", "degrading", "harmless"]

_MISFITS = {
    "missing table",
    "missing column",
    "extra column",
    "different type",
    "different nullability",
    "different numbering",
    "different generation",
    "missing privilege",
}
_HARMLESS_ODDITIES = {"disabled trigger"}
_TRIGGERS = {"extra trigger", "disabled trigger"}


@dataclass(frozen=True)
class Drift:
    """One difference.

    Breaking: the code may fail on it, or a promise of the schema does not hold. Degrading: the code works, slower.
    Harmless: something of somebody else's that is not in the way.
    """

    table: str
    object: str
    """A column, index, constraint, trigger, sequence, or the table itself."""
    what: str
    expected: str | None = None
    found: str | None = None
    severity: Severity = "breaking"

    @property
    def breaking(self) -> bool:
        return self.severity == "breaking"

    @property
    def misfit(self) -> bool:
        """Code that does not know the newer revision cannot work with it; more constraints than it knows do fit."""
        return self.breaking and self.what in _MISFITS

    @property
    def harmless(self) -> bool:
        return self.severity == "harmless"

    def __str__(self) -> str:
        place = self.table if self.object == self.table else f"{self.table}.{self.object}"
        sides = (("expected", self.expected), ("found", self.found))
        return f"{place}: {self.what}" + "".join(f", {name} {side}" for name, side in sides if side)


def compare(
    expected: Mapping[str, Table],
    found: Mapping[str, Table],
    meanings: Meanings,
    positions: Mapping[str, Position],
) -> Iterator[Drift]:
    for name, table in expected.items():
        if name not in found:
            yield Drift(name, name, "missing table")
            continue
        yield from _compare_columns(table, found[name], meanings)
        yield from _compare_order(table, found[name])
        yield from _compare_indexes(table, found[name], meanings)
        yield from _compare_constraints(table, found[name], meanings)
        yield from _judge_oddities(table, found[name])
        yield from _find_missing_privileges(table, found[name])
        yield from _find_late_sequences(found[name], positions)


def expressions(tables: Mapping[str, Table]) -> set[Expression]:
    """Every expression whose meaning `compare` may ask for."""
    found: set[Expression | str | None] = set()
    for table in tables.values():
        found.update(column.default for column in table.columns)
        found.update(constraint.check for constraint in table.constraints)
        found.update(index.where for index in table.indexes)
        found.update(key.by for index in table.indexes for key in index.keys)
    return {each for each in found if isinstance(each, Expression)}


def _compare_columns(expected: Table, found: Table, meanings: Meanings) -> Iterator[Drift]:
    live = {column.name: column for column in found.columns}
    for column in expected.columns:
        if column.name not in live:
            yield Drift(expected.name, column.name, "missing column", expected=str(column))
        else:
            yield from _compare_column(expected.name, column, live.pop(column.name), meanings)
    for column in live.values():
        severity: Severity = "harmless" if _may_be_left_out(column) else "breaking"
        yield Drift(expected.name, column.name, "extra column", found=str(column), severity=severity)


def _compare_column(table: str, expected: Column, found: Column, meanings: Meanings) -> Iterator[Drift]:
    if expected.nullable != found.nullable:
        sides = (expected.nullability, found.nullability)
        yield Drift(table, expected.name, "different nullability", *sides)
    if expected.full_type != found.full_type:
        yield Drift(table, expected.name, "different type", expected.full_type, found.full_type)
    elif expected.numbered != found.numbered:
        yield Drift(table, expected.name, "different numbering", _origin(expected), _origin(found))
    elif expected.generated != found.generated:
        yield Drift(table, expected.name, "different generation", _origin(expected), _origin(found))
    elif not same(meanings, expected.default, found.default):
        severity: Severity = "breaking" if expected.default else "harmless"
        yield Drift(table, expected.name, "different default", _origin(expected), _origin(found), severity)


def _origin(column: Column) -> str:
    if column.numbered:
        return "a sequence"
    default = column.default.sql if column.default else "no default"
    return f"GENERATED ALWAYS AS ({default})" if column.generated else default


def _may_be_left_out(column: Column) -> bool:
    return column.nullable or column.numbered or column.default is not None


def _compare_order(expected: Table, found: Table) -> Iterator[Drift]:
    """Order, not position: a column that was dropped and added again stands after the gap it left."""
    names, live = ([column.name for column in table.columns] for table in (expected, found))
    wanted = [name for name in names if name in live]
    actual = [name for name in live if name in names]
    if wanted != actual:
        orders = (", ".join(wanted), ", ".join(actual))
        yield Drift(expected.name, expected.name, "different column order", *orders, severity="harmless")


def _compare_indexes(expected: Table, found: Table, meanings: Meanings) -> Iterator[Drift]:
    live = {index.name: index for index in found.indexes}
    for index in expected.indexes:
        other = live.pop(index.name, None)
        severity: Severity = "breaking" if index.unique else "degrading"
        if other is None:
            yield Drift(expected.name, index.name, "missing index", expected=str(index), severity=severity)
        elif not _same_index(index, other, meanings):
            yield Drift(expected.name, index.name, "different index", str(index), str(other), severity)
    for extra in live.values():
        severity = "breaking" if extra.unique else "harmless"
        yield Drift(expected.name, extra.name, "extra index", found=str(extra), severity=severity)


def _same_index(one: Index, other: Index, meanings: Meanings) -> bool:
    plain, other_plain = (replace(index, keys=(), where=None) for index in (one, other))
    return (
        plain == other_plain
        and same(meanings, one.where, other.where)
        and [key.options for key in one.keys] == [key.options for key in other.keys]
        and all(_same_key(key.by, by, meanings) for key, (by, _) in zip(one.keys, other.keys, strict=True))
    )


def _same_key(one: str | Expression, other: str | Expression, meanings: Meanings) -> bool:
    if isinstance(one, Expression) and isinstance(other, Expression):
        return same(meanings, one, other)
    return one == other


def _compare_constraints(expected: Table, found: Table, meanings: Meanings) -> Iterator[Drift]:
    live = {constraint.name: constraint for constraint in found.constraints}
    for each in expected.constraints:
        other = live.pop(each.name, None)
        if other is None:
            yield Drift(expected.name, each.name, f"missing {each.kind}", expected=each.definition)
        elif not _same_constraint(each, other, meanings):
            sides = (each.definition, other.definition)
            yield Drift(expected.name, each.name, f"different {each.kind}", *sides)
    for extra in live.values():
        yield Drift(expected.name, extra.name, f"extra {extra.kind}", found=extra.definition)


def _same_constraint(one: Constraint, other: Constraint, meanings: Meanings) -> bool:
    if one.check and other.check:
        return one.valid == other.valid and same(meanings, one.check, other.check)
    return (one.kind, one.definition) == (other.kind, other.definition)


def _judge_oddities(expected: Table, found: Table) -> Iterator[Drift]:
    triggers = {each.object for each in found.oddities if each.what in _TRIGGERS}
    for name in sorted(expected.triggers.keys() - triggers):
        yield Drift(found.name, name, "missing trigger", severity="degrading")
    for oddity in found.oddities:
        if oddity.what in _TRIGGERS and oddity.object in expected.triggers:
            yield from _judge_trigger(found.name, expected.triggers[oddity.object], oddity)
        else:
            severity: Severity = "harmless" if oddity.what in _HARMLESS_ODDITIES else "breaking"
            yield Drift(found.name, oddity.object, oddity.what, found=oddity.definition, severity=severity)


def _judge_trigger(table: str, expected: str, found: Oddity) -> Iterator[Drift]:
    if found.what == "disabled trigger":
        yield Drift(table, found.object, found.what, found=found.definition, severity="degrading")
    elif found.definition != expected:
        yield Drift(table, found.object, "different trigger", expected, found.definition, "degrading")


def _find_missing_privileges(expected: Table, found: Table) -> Iterator[Drift]:
    """What the connected role may not do with the columns that the code uses."""
    names = {column.name for column in expected.columns}
    columns = [column for column in found.columns if column.name in names]
    for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE"):
        withheld = [column.name for column in columns if privilege in column.withheld]
        if len(withheld) == len(columns):
            yield Drift(found.name, found.name, "missing privilege", expected=privilege)
        else:
            yield from (Drift(found.name, name, "missing privilege", expected=privilege) for name in withheld)
    for each in found.numberings:
        if not each.usable:
            yield Drift(found.name, each.sequence, "missing privilege", expected="USAGE")


def _find_late_sequences(found: Table, positions: Mapping[str, Position]) -> Iterator[Drift]:
    for each in found.numberings:
        if each.sequence not in positions:
            what = "cannot be compared with the highest number, for want of the privilege SELECT"
            yield Drift(found.name, each.sequence, what, severity="harmless")
            continue
        coming, highest = positions[each.sequence]
        if highest is not None and coming <= highest:
            values = (f"a next value above {highest}", f"next value {coming}")
            yield Drift(found.name, each.sequence, "sequence behind its column", *values)
