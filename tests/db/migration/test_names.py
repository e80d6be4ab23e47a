"""`folded`: what e-mail addresses and usernames are compared by, wherever the database runs."""

import itertools
import sys
import unicodedata
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import IntegrityError

from app.db.engine import connect
from app.db.schema.report import inspect_schema
from app.models.base import folded
from app.models.database import User
from tests.support import postgres
from tests.support.chain import dump, execute, fetch, run_script

CHUNK = 500
TRICKY = (
    "aA\u00df\u1e9e\u0130\u0131\u017f\u0149\u01f0\u0390\u03a3\u03c2\u03c3\u1fb3\u1fbc"
    "\u0345\u0301\u0307\ufb03\u2460\uff21\uac00\u1100\u1161\u13a0\uab70\U00010400"
)
"""Ligatures, final sigmas, iotas below, letters that compose or fall apart, both ways of case."""

INSERT = text(
    "INSERT INTO users (email, username, created_at, updated_at, preferences) "
    "VALUES (:email, :username, now(), now(), '{}')"
)


@pytest.fixture
def connection(clone_url: str) -> Iterator[Connection]:
    with connect(clone_url) as connection:
        yield connection


def by_python(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def by_database(connection: Connection, names: list[str]) -> list[str | None]:
    query = text(
        "SELECT folded(name) FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS n (name, place) ORDER BY place"
    )
    return list(connection.scalars(query, {"names": names}))


def add(connection: Connection, **names: str | None) -> None:
    connection.execute(INSERT, {"username": None} | names)


def test_every_character_is_folded_as_python_folds_it(connection: Connection) -> None:
    """Line breaks keep the characters of a chunk apart: nothing composes with one."""
    known = [each for each in map(chr, range(1, sys.maxunicode + 1)) if unicodedata.category(each) not in {"Cn", "Cs"}]
    known.remove("\n")
    chunks = ["\n".join(known[start : start + CHUNK]) for start in range(0, len(known), CHUNK)]
    found = "\n".join(map(str, by_database(connection, chunks))).split("\n")
    wrong = {each: other for each, other in zip(known, found, strict=True) if other != by_python(each)}
    assert wrong == {}


def test_characters_that_change_each_other_are_folded_as_python_folds_them(connection: Connection) -> None:
    names = ["".join(each) for each in itertools.product(TRICKY, repeat=3)]
    assert by_database(connection, names) == [by_python(name) for name in names]


def test_long_names_and_empty_ones(connection: Connection) -> None:
    assert by_database(connection, ["", " ", "ẞ" * 255]) == [None, " ", "ss" * 255]
    assert connection.scalar(text("SELECT folded(NULL)")) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ana@desk.test", "ANA@Desk.Test"),
        ("ana@desk.test", "\uff41na@desk.test"),
        ("straße@desk.test", "STRASSE@desk.test"),
    ],
    ids=["case", "width", "sharp s"],
)
@pytest.mark.parametrize("column", ["email", "username"])
def test_no_two_users_share_a_name(connection: Connection, column: str, one: str, other: str) -> None:
    add(connection, **{"email": "first@desk.test", column: one})
    with pytest.raises(IntegrityError, match=f"ix_users_{column}_folded"):
        add(connection, **{"email": "second@desk.test", column: other})


@pytest.mark.parametrize("none", [None, ""])
def test_any_number_of_users_have_no_name(connection: Connection, none: str | None) -> None:
    for number in range(3):
        add(connection, email=f"{number}@desk.test", username=none)


@pytest.mark.parametrize("column", ["email", "username"])
def test_a_look_up_uses_the_index(connection: Connection, column: str) -> None:
    query = select(User.id).where(folded(getattr(User, column)) == folded("Änne@desk.test"))
    sql = query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
    connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    plan = connection.exec_driver_sql(f"EXPLAIN {sql}", execution_options={"no_parameters": True}).scalars().all()
    assert f"Index Scan using ix_users_{column}_folded" in plan[0]
    assert any("Index Cond" in line for line in plan)


def test_it_comes_through_a_dump(clone_url: str, server_url: str) -> None:
    with connect(clone_url) as connection:
        add(connection, email="Straße@desk.test", username="Ζωή")
        connection.commit()
    with postgres.database(server_url) as url:
        run_script(url, dump(clone_url).decode())
        assert fetch(url, "SELECT folded(email) AS folded FROM users") == [{"folded": "strasse@desk.test"}]
        with connect(url) as connection:
            assert inspect_schema(connection).drift == ()


@pytest.mark.parametrize("path", ["''", "public, pg_catalog"], ids=["of a restore", "with another lower() first"])
def test_the_search_path_does_not_matter(clone_url: str, path: str) -> None:
    execute(
        clone_url,
        "CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE sql IMMUTABLE RETURN 'other'",
        f"SET search_path = {path}; INSERT INTO public.users (email, created_at, updated_at, preferences) "
        "VALUES ('ANA@desk.test', now(), now(), '{}')",
    )
    with connect(clone_url) as connection, pytest.raises(IntegrityError, match="ix_users_email_folded"):
        add(connection, email="Ana@desk.test")
