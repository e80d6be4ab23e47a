"""Lists, newest first, that do not shift under a reader."""

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar

import httpx
import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import create_engine, event, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from app.core.errors import InvalidInput
from app.models.base import UtcDateTime
from app.web.paging import Page, PageParams, Place, decode_cursor, encode_cursor, paginate
from app.web.schemas import Reply
from tests.support.identity import statements

pytestmark = pytest.mark.anyio

LIFE = datetime(1970, 1, 1, tzinfo=UTC)
TODAY = datetime(2026, 3, 1, 12, 30, 15, 123_456, tzinfo=UTC)


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UtcDateTime}


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    shelf: Mapped[str]


class Event(Base):
    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]


BY_TIME = (Event.at, Event.id)


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


def put_events(session: Session, *rows: tuple[datetime, int]) -> None:
    session.execute(insert(Event), [{"at": at, "id": id_} for at, id_ in rows])


def note(id_: int) -> Place:
    return Place("notes", (id_,))


def read(session: Session, limit: int, place: Place | None = None) -> tuple[list[int], Place | None]:
    notes, following = paginate(
        session,
        select(Note).where(Note.shelf == "a"),
        Note.id,
        PageParams(limit, None if place is None else encode_cursor(place)),
    )
    return [note.id for note in notes], None if following is None else decode_cursor(following)


def read_events(session: Session, limit: int, place: Place | None = None) -> tuple[list[int], Place | None]:
    events, following = paginate(
        session, select(Event), BY_TIME, PageParams(limit, None if place is None else encode_cursor(place))
    )
    return [event.id for event in events], None if following is None else decode_cursor(following)


def test_an_empty_list(session: Session) -> None:
    assert read(session, 5) == ([], None)


def test_pages_end_where_the_rows_end(session: Session) -> None:
    put(session, *range(1, 7))
    assert read(session, 3) == ([6, 5, 4], note(4))
    assert read(session, 3, note(4)) == ([3, 2, 1], None)
    assert read(session, 6) == ([6, 5, 4, 3, 2, 1], None)
    assert read(session, 7) == ([6, 5, 4, 3, 2, 1], None)


def test_rows_that_come_and_go_shift_nothing(session: Session) -> None:
    put(session, 1, 2, 3, 5, 8)
    put(session, 4, 6, 7, shelf="b")
    assert read(session, 2) == ([8, 5], note(5))
    put(session, 9, 10)
    session.delete(session.get_one(Note, 5))
    assert read(session, 2, note(5)) == ([3, 2], note(2))
    assert read(session, 2, note(2)) == ([1], None)


def test_a_page_is_one_query(session: Session) -> None:
    put(session, *range(1, 7))
    statements: list[str] = []
    event.listen(session.get_bind(), "before_cursor_execute", lambda *args: statements.append(args[2]))
    read(session, 3, note(6))
    assert len(statements) == 1
    assert "OFFSET" not in statements[0]
    assert "count" not in statements[0]


class TestByTimeAndId:
    def test_times_come_first_and_ids_settle_the_rest(self, session: Session) -> None:
        later = TODAY + timedelta(microseconds=1)
        put_events(session, (later, 1), (TODAY, 2), (TODAY, 4), (TODAY, 3), (LIFE, 9))
        seen: list[int] = []
        place = None
        for _ in range(5):
            ids, place = read_events(session, 1, place)
            seen += ids
        assert (seen, place) == ([1, 4, 3, 2, 9], None)

    def test_what_comes_with_the_same_time_shifts_nothing(self, session: Session) -> None:
        put_events(session, (TODAY, 1), (TODAY, 2), (TODAY, 3))
        ids, place = read_events(session, 2)
        put_events(session, (TODAY, 4), (TODAY + timedelta(days=1), 5))
        assert (ids, read_events(session, 2, place)) == ([3, 2], ([1], None))

    @pytest.mark.parametrize("at", [LIFE, TODAY, datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
    def test_a_place_is_kept_to_the_microsecond(self, session: Session, at: datetime) -> None:
        put_events(session, (at, 7), (at, 8))
        _, place = read_events(session, 1)
        assert place is not None
        assert LIFE + timedelta(microseconds=place.values[0]) == at
        assert read_events(session, 1, place) == ([7], None)

    def test_a_page_is_one_comparison(self, session: Session) -> None:
        with statements() as seen:
            read_events(session, 3, Place("events", (0, 1)))
        assert re.search(
            r"WHERE \(events\.at, events\.id\) < \(.*ORDER BY events\.at DESC, events\.id DESC", seen[-1], re.DOTALL
        )


class TestACursorOfAnotherList:
    @pytest.mark.parametrize(
        "place",
        [
            Place("events", (42,)),
            Place("events", (0, 42)),
            Place("notes", (42, 42)),
            Place("notes", (0,)),
            Place("notes", (-1,)),
            Place("notes", (2**31,)),
            Place(None, (2**31,)),
        ],
    )
    def test_is_refused_by_a_list_of_ids(self, session: Session, place: Place) -> None:
        with pytest.raises(InvalidInput) as refusal:
            read(session, 5, place)
        assert [(error.pointer, error.code) for error in refusal.value.errors] == [("query/cursor", "invalid_cursor")]

    @pytest.mark.parametrize(
        "place",
        [
            Place(None, (42,)),
            Place("notes", (0, 42)),
            Place("events", (42,)),
            Place("events", (0, 42, 1)),
            Place("events", (0, 0)),
            Place("events", (0, 2**31)),
            Place("events", (10**18, 42)),
            Place("events", (-(10**18), 42)),
        ],
    )
    def test_is_refused_by_a_list_by_time(self, session: Session, place: Place) -> None:
        with pytest.raises(InvalidInput):
            read_events(session, 5, place)

    def test_the_first_version_named_no_list_and_stays_good(self, session: Session) -> None:
        put(session, *range(1, 7))
        cursor = urlsafe_b64encode(b"1:3").rstrip(b"=").decode()
        assert read(session, 5, decode_cursor(cursor)) == ([2, 1], None)


@pytest.fixture
def listed(app: FastAPI) -> FastAPI:
    @app.get("/notes")
    async def notes(page: Annotated[PageParams, Depends()]) -> Page[NoteReply]:
        return Page(
            items=[NoteReply(id=page.limit)],
            next_cursor=encode_cursor(note(1) if page.cursor is None else decode_cursor(page.cursor)),
        )

    return app


@pytest.mark.usefixtures("listed")
class TestParameters:
    async def test_what_they_are_when_left_out(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/notes")
        assert answer.json() == {"items": [{"id": 50}], "next_cursor": encode_cursor(note(1))}

    @pytest.mark.parametrize("limit", [1, 200])
    async def test_the_limit(self, client: httpx.AsyncClient, limit: int) -> None:
        assert (await client.get("/notes", params={"limit": limit})).json()["items"] == [{"id": limit}]

    @pytest.mark.parametrize("limit", ["0", "201", "-1", "ten", ""])
    async def test_a_limit_out_of_bounds(self, client: httpx.AsyncClient, limit: str) -> None:
        answer = await client.get("/notes", params={"limit": limit})
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == ["query/limit"]

    @pytest.mark.parametrize(
        "place",
        [
            Place(None, (1,)),
            Place(None, (2**31 - 1,)),
            Place("notes", (42,)),
            Place("a_very_long_name_of_a_table", (-(10**17), 0, 2**31 - 1)),
        ],
    )
    async def test_a_cursor_comes_back(self, client: httpx.AsyncClient, place: Place) -> None:
        cursor = encode_cursor(place)
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
            encode_cursor(note(42)) + "=",
            encode_cursor(note(42)) + "!",
            " " + encode_cursor(note(42)),
            encode_cursor(note(10**300)),
            *(
                urlsafe_b64encode(text).rstrip(b"=").decode()
                for text in (
                    *(b"1:0", b"1:-1", b"1:042", b"1:", b"1:42\n", b"1:\xff", b"1:notes:42", b"1:4_2"),
                    *(b"2:42", b"2:notes", b"2:notes:", b"2:notes:042", b"2:notes:-0", b"2:notes:+1", b"2:notes:1:"),
                    *(b"2::42", b"2:notes:1.0", b"2:notes:1:2:3:4:5", b"2:notes:" + b"9" * 20, b"2:Notes:1"),
                    *("2:notes:٤٢".encode(), b"3:notes:42", b"2:notes:42\n", b"2:notes:4\x002"),
                )
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
