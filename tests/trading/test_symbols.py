"""The alphabet of symbols, character by character."""

import string
import sys
from unicodedata import normalize

import pytest
from pydantic import TypeAdapter, ValidationError

from app.trading.symbols import Symbol

SYMBOL: TypeAdapter[str] = TypeAdapter(Symbol)
FIRST = set(string.ascii_letters + string.digits + "^")
LATER = FIRST | set("./=+#*:_-")


def taken(text: str) -> str | None:
    try:
        return SYMBOL.validate_python(text)
    except ValidationError:
        return None


def lookalikes() -> list[str]:
    """Every character of the alphabets in use, and those beyond whose upper case or compatible form is ASCII."""
    every = map(chr, (*range(0xD800), *range(0xE000, sys.maxunicode + 1)))
    return [each for each in every if each < "\u3000" or normalize("NFKC", each).upper().isascii()]


def test_no_other_character_is_in_it() -> None:
    there = lookalikes()
    assert {"\u0131", "\xdf", "\xc5", "\u212a", "\uff21", "\U0001d400"} < set(there)
    assert {each for each in there if taken(each)} == FIRST
    assert {each for each in there if taken(f"A{each}")} == LATER
    assert {each for each in there if taken(f"A{each}A")} == LATER


def test_upper_cased() -> None:
    assert taken(string.ascii_lowercase[:20]) == string.ascii_uppercase[:20]
    assert taken("brk.b") == taken("BRK.B") == "BRK.B"


@pytest.mark.parametrize(("length", "fits"), [(0, False), (1, True), (20, True), (21, False), (5000, False)])
def test_length(length: int, fits: bool) -> None:
    assert (taken("A" * length) is not None) == fits
