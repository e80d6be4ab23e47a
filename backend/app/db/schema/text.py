"""The schema report as a person reads it, and what to do about it."""

from collections.abc import Iterable, Iterator

from app.db.revisions import UPGRADE
from app.db.schema.catalog import VERSION_TABLE
from app.db.schema.report import ColumnReport, SchemaReport, TableReport

_SHOWN_IN_FULL = "users"
_OPTIONAL = ("username", "password_hash")
"""Columns of `users` that are NULL for a user who has none."""


def render(report: SchemaReport) -> str:
    sections = (
        _heading(report),
        _full_table(next(table for table in report.tables if table.name == _SHOWN_IN_FULL)),
        _other_tables(report),
        _unmanaged(report),
        _drift(report),
        _revisions(report),
        [f"{'[OK]' if report.ok else '[FAIL]'} {verdict(report)}"],
    )
    return "\n\n".join("\n".join(lines) for section in sections if (lines := list(section)))


def verdict(report: SchemaReport) -> str:
    """Whether the database is what the code expects, and otherwise what to do."""
    if report.ok:
        return "The database is what this code expects."
    if any(drift.table == VERSION_TABLE for drift in report.drift):
        role = report.server.role
        return f"The revision cannot be read: grant SELECT on {VERSION_TABLE} to {role}, then look again."
    return _advice(report)


def _advice(report: SchemaReport) -> str:
    revisions = report.revisions
    if len(revisions.current) > 1:
        return f"{VERSION_TABLE} holds several rows: find out which revision is true and delete the others."
    if not revisions.known:
        fit = "its tables fit" if report.fits else "its tables do not fit"
        return f"This code does not know the revision, and {fit}: deploy the code that made it."
    if not revisions.current and any(table.mark != "missing" for table in report.tables):
        return (
            "There are tables but no revision: find out which they are at, adopt them with "
            f"`cd backend && python -m alembic stamp REVISION`, then run `{UPGRADE}`."
        )
    if revisions.pending:
        return f"The database is behind this code: run `{UPGRADE}`."
    return (
        "The database is at the code's revision but was changed since: mend what is marked breaking or degrading above."
    )


def _heading(report: SchemaReport) -> Iterator[str]:
    server = report.server
    title = f'Schema of database "{server.database}" (PostgreSQL {server.version}, role {server.role})'
    yield title
    yield "=" * len(title)
    yield f"Search path: {', '.join(server.schemas) or 'no schema that this role may use'}"


def _full_table(table: TableReport) -> Iterator[str]:
    yield table.name
    yield "-" * len(table.name)
    names = max(len(column.name) for column in table.columns)
    types = max(len(column.type) for column in table.columns)
    for column in table.columns:
        nullable = "NULL" if column.nullable else "NOT NULL"
        line = f"{column.number or '-':>4}  {column.name:<{names}}  {column.type:<{types}}  {nullable:<8}"
        yield f"{line}  {_mark(column)}".rstrip()
    yield ""
    for name in _OPTIONAL:
        found = table.column(name)
        yield _check(found is not None, f"{table.name}.{name} exists")
        yield _check(found is not None and found.nullable, f"{table.name}.{name} is nullable")


def _mark(column: ColumnReport) -> str:
    if column.mark == "different":
        return f"DIFFERENT, expected {column.expected}"
    return "" if column.mark == "ok" else column.mark.upper()


def _check(passed: bool, claim: str) -> str:  # noqa: FBT001 - the outcome is what is shown
    return f"{'[OK]  ' if passed else '[FAIL]'} {claim}"


def _other_tables(report: SchemaReport) -> Iterator[str]:
    others = [table for table in report.tables if table.name != _SHOWN_IN_FULL]
    width = max((len(table.name) for table in others), default=0)
    yield from _titled("Other tables")
    for table in others:
        intact = all(drift.harmless for drift in report.drift if drift.table == table.name)
        yield _check(intact, f"{table.name:<{width}}  {_state(table, report)}")


def _state(table: TableReport, report: SchemaReport) -> str:
    if table.mark == "missing":
        return "missing"
    count = sum(drift.table == table.name for drift in report.drift)
    differences = f", {count} difference{'s' if count > 1 else ''}, see below" if count else ""
    return f"{sum(column.number is not None for column in table.columns)} columns{differences}"


def _unmanaged(report: SchemaReport) -> Iterable[str]:
    return _titled("Not managed here", *report.unmanaged) if report.unmanaged else ()


def _drift(report: SchemaReport) -> Iterable[str]:
    entries = sorted(report.drift, key=lambda drift: ("breaking", "degrading", "harmless").index(drift.severity))
    return _titled("Drift", *(f"[{entry.severity}] {entry}" for entry in entries) if entries else ("none",))


def _revisions(report: SchemaReport) -> Iterable[str]:
    revisions = report.revisions
    unknown = "" if revisions.known else " (unknown to this code)"
    return _titled(
        "Revision",
        f"current  {', '.join(revisions.current) or 'none'}{unknown}",
        f"head     {revisions.head}",
        *([f"pending  {', '.join(revisions.pending)}"] if revisions.pending else ()),
    )


def _titled(title: str, *lines: str) -> Iterator[str]:
    yield title
    yield "-" * len(title)
    yield from (f"  {line}" for line in lines)
