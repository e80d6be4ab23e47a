"""How `alembic revision --autogenerate` puts what it finds: in the database's own types, and so that nobody waits."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Literal

from alembic import util
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import renderers
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column
from sqlalchemy.schema import AddConstraint
from sqlalchemy.sql.operators import collate

from app.models.base import UtcDateTime


def render_item(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """A revision outlives the models: it names the database's own types, never those of `app.models`."""
    return "sa.DateTime()" if kind == "type" and isinstance(item, UtcDateTime) else False


def process_directives(context: MigrationContext, current: Any, directives: list[ops.MigrationScript]) -> None:
    """Write no revision that would do nothing, and change tables that may hold rows by the helpers of `ddl.py`."""
    (script,) = directives
    if script.upgrade_ops is None or script.upgrade_ops.is_empty():
        util.msg("The revisions make all that the models ask for: nothing was written (empty=1 writes one to fill in).")
        directives.clear()
        return
    for operations in (script.upgrade_ops, script.downgrade_ops):
        if operations is not None:
            _use_helpers(operations)


def is_told_alike(item: Any, _name: str | None, kind: str, _reflected: Any, other: Any) -> bool:
    """PostgreSQL tells no collation of an indexed expression: such indexes are compared by the schema report alone."""
    if kind != "index" or other is None:
        return True
    return not any(getattr(key, "operator", None) is collate for key in item.expressions)


class HelperCall(ops.MigrateOperation):
    """The call of a function of `app.db.migration.ddl`."""

    def __init__(self, helper: str, *arguments: object, **options: object) -> None:
        self.helper = helper
        self.arguments = arguments
        self.options = options


@renderers.dispatch_for(HelperCall)
def _render_call(context: AutogenContext, call: HelperCall) -> str:
    context.imports.add(f"from app.db.migration.ddl import {call.helper}")
    options = (f"{name}={value!r}" for name, value in call.options.items())
    return f"{call.helper}({', '.join([*map(repr, call.arguments), *options])})"


def _use_helpers(operations: ops.OpContainer) -> None:
    """Helpers commit, so that whatever stands beside one must bear being run again."""
    empty = {each.table_name for each in operations.ops if isinstance(each, ops.CreateTableOp | ops.DropTableOp)}
    for group in operations.ops:
        if isinstance(group, ops.ModifyTableOps) and group.table_name not in empty:
            group.ops = list(chain.from_iterable(map(_gently, group.ops)))
    steps = list(_steps(operations.ops))
    if any(isinstance(step, HelperCall) for step in steps):
        for step in steps:
            for tolerance in ("if_exists", "if_not_exists"):
                if hasattr(step, tolerance):
                    setattr(step, tolerance, True)


def _steps(operations: Iterable[ops.MigrateOperation]) -> Iterator[ops.MigrateOperation]:
    for each in operations:
        yield from _steps(each.ops) if isinstance(each, ops.OpContainer) else (each,)


def _gently(operation: ops.MigrateOperation) -> list[ops.MigrateOperation]:
    """The same change of a table that may hold rows; what has no helper is left for a person to judge."""
    match operation:
        case ops.CreateIndexOp() if not operation.kw and all(isinstance(each, Column) for each in operation.columns):
            columns = [each.name for each in operation.columns if isinstance(each, Column)]
            unique = {"unique": True} if operation.unique else {}
            name, table = operation.index_name, operation.table_name
            return [HelperCall("create_index_concurrently", name, table, columns, **unique)]
        case ops.DropIndexOp():
            return [HelperCall("drop_index_concurrently", operation.index_name, operation.table_name)]
        case ops.CreateForeignKeyOp():
            return [HelperCall("add_constraint", operation.source_table, *_name_and_definition(operation))]
        case ops.AlterColumnOp(modify_nullable=False):
            operation.modify_nullable = None
            rest = [operation] if operation.has_changes() else []
            return [*rest, HelperCall("set_not_null", operation.table_name, operation.column_name)]
    return [operation]


def _name_and_definition(operation: ops.CreateForeignKeyOp) -> tuple[str, str]:
    """As PostgreSQL reads them after ALTER TABLE … ADD CONSTRAINT."""
    *_, name, definition = str(AddConstraint(operation.to_constraint())).split(maxsplit=6)
    return name, definition
