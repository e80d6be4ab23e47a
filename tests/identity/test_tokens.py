"""Minted tokens: their shape, their checksum, and that no two are the same."""

import hashlib
import re
import string
import zlib

from hypothesis import given
from hypothesis import strategies as st

from app.identity.tokens import PUBLIC_PREFIX_LENGTH, hash_token, is_mistyped, mint

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
SHAPE = re.compile(r"tb_[0-9A-Za-z]{43}[0-9A-Za-z]{6}")
EXAMPLE = "tb_" + "0" * 43 + "4VXmVF"
"""Tokens that were handed out, and scanners elsewhere, rely on the checksum staying what it is."""


def base62(text: str) -> int:
    number = 0
    for character in text:
        number = number * 62 + BASE62.index(character)
    return number


def test_shape() -> None:
    minted = mint()
    assert SHAPE.fullmatch(minted.plain)
    assert minted.prefix == minted.plain[:12]
    assert len(minted.prefix) == PUBLIC_PREFIX_LENGTH
    assert minted.secret_hash == hashlib.sha256(minted.plain.encode()).digest() == hash_token(minted.plain)


def test_the_checksum_is_the_crc_of_all_before_it() -> None:
    plain = mint().plain
    assert base62(plain[-6:]) == zlib.crc32(plain[:-6].encode())


def test_the_checksum_stays_what_it_is() -> None:
    assert base62(EXAMPLE[-6:]) == zlib.crc32(EXAMPLE[:-6].encode())
    assert not is_mistyped(EXAMPLE)


def test_no_two_are_the_same() -> None:
    minted = [mint() for _ in range(5000)]
    assert len({each.plain for each in minted}) == 5000
    assert len({each.secret_hash for each in minted}) == 5000


def test_every_character_is_used_everywhere() -> None:
    """A generator that left out a character, or a place, would be guessed sooner."""
    bodies = [mint().plain[3:-6] for _ in range(2000)]
    assert all(len(set(column)) == 62 for column in zip(*bodies, strict=True))


def test_a_good_one_is_not_mistyped() -> None:
    assert not any(is_mistyped(mint().plain) for _ in range(200))


@given(place=st.integers(3, 51), character=st.characters())
def test_one_changed_character_is_always_found(place: int, character: str) -> None:
    plain = mint().plain
    changed = plain[:place] + character + plain[place + 1 :]
    assert is_mistyped(changed) == (changed != plain)


@given(place=st.integers(3, 50))
def test_two_neighbours_that_changed_places_are_found(place: int) -> None:
    plain = mint().plain
    swapped = plain[:place] + plain[place + 1] + plain[place] + plain[place + 2 :]
    assert is_mistyped(swapped) == (swapped != plain)


@given(place=st.integers(3, 51), character=st.sampled_from(BASE62))
def test_a_missing_or_extra_character_is_found(place: int, character: str) -> None:
    plain = mint().plain
    assert is_mistyped(plain[:place] + plain[place + 1 :])
    assert is_mistyped(plain[:place] + character + plain[place:])


@given(st.text())
def test_other_text_is_somebody_elses_business(text: str) -> None:
    """An API_TOKEN of any shape is good, unless it claims to be one of ours."""
    assert is_mistyped(text) == (text.startswith("tb_") and not SHAPE.fullmatch(text))
    assert is_mistyped(f"tb_{text}")
