"""Lists, newest first, that do not shift under a reader."""

from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import create_engine, event, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from app.web.paging import Page, PageParams, decode_cursor, encode_cursor, paginate
from app.web.schemas import Reply

pytestmark = pytest.mark.anyio


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    shelf: Mapped[str]


class NoteReply(Reply):
    id: int


@pytest.fixture
def session(empty_url: str) -> Iterator[Session]:
    engine = create_engine(empty_url)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


def put(session: Session, *ids: int, shelf: str = "a") -> None:
    session.execute(insert(Note), [{"id": id_, "shelf": shelf} for id_ in ids])


def read(session: Session, limit: int, cursor: int | None = None) -> tuple[list[int], int | None]:
    notes, following = paginate(session, select(Note).where(Note.shelf == "a"), Note.id, PageParams(limit, cursor))
    return [note.id for note in notes], None if following is None else decode_cursor(following)


def test_an_empty_list(session: Session) -> None:
    assert read(session, 5) == ([], None)


def test_pages_end_where_the_rows_end(session: Session) -> None:
    put(session, *range(1, 7))
    assert read(session, 3) == ([6, 5, 4], 4)
    assert read(session, 3, 4) == ([3, 2, 1], None)
    assert read(session, 6) == ([6, 5, 4, 3, 2, 1], None)
    assert read(session, 7) == ([6, 5, 4, 3, 2, 1], None)


def test_rows_that_come_and_go_shift_nothing(session: Session) -> None:
    put(session, 1, 2, 3, 5, 8)
    put(session, 4, 6, 7, shelf="b")
    assert read(session, 2) == ([8, 5], 5)
    put(session, 9, 10)
    session.delete(session.get_one(Note, 5))
    assert read(session, 2, 5) == ([3, 2], 2)
    assert read(session, 2, 2) == ([1], None)


def test_a_page_is_one_query(session: Session) -> None:
    put(session, *range(1, 7))
    statements: list[str] = []
    event.listen(session.get_bind(), "before_cursor_execute", lambda *args: statements.append(args[2]))
    read(session, 3, 6)
    assert len(statements) == 1
    assert "OFFSET" not in statements[0]
    assert "count" not in statements[0]


@pytest.fixture
def listed(app: FastAPI) -> FastAPI:
    @app.get("/notes")
    async def notes(page: Annotated[PageParams, Depends()]) -> Page[NoteReply]:
        return Page(items=[NoteReply(id=page.limit)], next_cursor=encode_cursor(page.cursor or 1))

    return app


@pytest.mark.usefixtures("listed")
class TestParameters:
    async def test_what_they_are_when_left_out(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/notes")
        assert answer.json() == {"items": [{"id": 50}], "next_cursor": encode_cursor(1)}

    @pytest.mark.parametrize("limit", [1, 200])
    async def test_the_limit(self, client: httpx.AsyncClient, limit: int) -> None:
        assert (await client.get("/notes", params={"limit": limit})).json()["items"] == [{"id": limit}]

    @pytest.mark.parametrize("limit", ["0", "201", "-1", "ten", ""])
    async def test_a_limit_out_of_bounds(self, client: httpx.AsyncClient, limit: str) -> None:
        answer = await client.get("/notes", params={"limit": limit})
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == ["query/limit"]

    @pytest.mark.parametrize("key", [1, 42, 2**31 - 1])
    async def test_a_cursor_comes_back(self, client: httpx.AsyncClient, key: int) -> None:
        cursor = encode_cursor(key)
        assert cursor.replace("-", "").replace("_", "").isalnum()
        assert (await client.get(f"/notes?cursor={cursor}")).json()["next_cursor"] == cursor

    @pytest.mark.parametrize(
        "cursor",
        [
            "",
            "42",
            "!!!",
            "é",
            "\0",
            "A" * 10_000,
            encode_cursor(42) + "=",
            encode_cursor(42) + "!",
            " " + encode_cursor(42),
            *(
                urlsafe_b64encode(text).rstrip(b"=").decode()
                for text in (b"1:0", b"1:-1", b"1:042", b"1:2147483648", b"2:42", b"1:", b"1:42\n", b"1:\xff")
            ),
        ],
    )
    async def test_a_cursor_nobody_gave(self, client: httpx.AsyncClient, cursor: str) -> None:
        answer = await client.get("/notes", params={"cursor": cursor})
        assert answer.status_code == 422
        assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [
            ("query/cursor", "invalid_cursor")
        ]

    async def test_the_document(self, app: FastAPI) -> None:
        operation = app.openapi()["paths"]["/notes"]["get"]
        limit, cursor = operation["parameters"]
        assert limit["schema"] == {
            "type": "integer",
            "minimum": 1,
            "maximum": 200,
            "default": 50,
            "title": "Limit",
        }
        assert {"type": "string"} in cursor["schema"]["anyOf"]
        assert (limit["in"], cursor["in"]) == ("query", "query")
