"""What PostgreSQL does for a query, by its own account."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Select, event
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.web.paging import PageParams, paginate

Node = dict[str, Any]
Column = InstrumentedAttribute[Any]
Rows = Select[Any] | Sequence[Select[Any]]


def plans(connection: Connection, ask: Callable[[Session], object]) -> list[Node]:
    """Of each query that is sent the node at the top of its plan, with what it did; settings are no queries."""
    sent: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        sent.append((statement, parameters))

    with Session(connection) as session:
        event.listen(connection, "before_cursor_execute", note)
        ask(session)
        event.remove(connection, "before_cursor_execute", note)
        return [_plan(connection, *query) for query in sent if not query[0].startswith("SET ")]


def page_plan(connection: Connection, rows: Rows, key: Column | tuple[Column, ...], page: PageParams) -> Node:
    """What is done for this page of the rows."""
    (found,) = plans(connection, lambda session: paginate(session, rows, key, page))
    return found


def nodes(node: Node) -> Iterator[Node]:
    """This one and all under it."""
    yield node
    for child in node.get("Plans", []):
        yield from nodes(child)


def node_types(node: Node) -> set[str]:
    return {each["Node Type"] for each in nodes(node)}


def rows_read(node: Node) -> float:
    """The most rows that any one node hands on and passes by, each time it runs."""
    most: float = max(each["Actual Rows"] + each.get("Rows Removed by Filter", 0) for each in nodes(node))
    return most


def blocks_read(node: Node) -> int:
    """Looks at blocks of tables and indexes: they also tell of entries passed by inside an index."""
    blocks: int = node["Shared Hit Blocks"] + node["Shared Read Blocks"]
    return blocks


def _plan(connection: Connection, statement: str, parameters: Any) -> Node:
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
    (found,) = connection.exec_driver_sql(explain, parameters).scalar_one()
    plan: Node = found["Plan"]
    return plan
