"""Hashes: what matches, what deserves a better one, and that what cannot match costs as much as what does not."""

import time
import unicodedata
from collections.abc import Callable
from typing import Any

import argon2
import bcrypt
import pytest

from app.identity.passwords import Verdict, hash_password, verify_password

PASSWORD = "Zwölf graue Kähne"
NFD = unicodedata.normalize("NFD", PASSWORD)
NO = Verdict(matches=False, rehash=False)
FINE = Verdict(matches=True, rehash=False)
OLD = Verdict(matches=True, rehash=True)

SALT = "c29tZXNhbHRzb21lc2FsdA"
DIGEST = "k5LDGYbOWBXCbMHxOCwlqjGMaLfaqtpSbSE7sgpVdCQ"


def encoded(parameters: str, variant: str = "id", salt: str = SALT, digest: str = DIGEST) -> str:
    return f"$argon2{variant}${parameters}${salt}${digest}"


def argon2_hash(memory: int, passes: int, *, lanes: int = 1, digest: int = 32, **more: Any) -> str:
    """Of PASSWORD, by the library itself."""
    options = {"type": argon2.Type.ID, "salt": b"sixteen bytes of", "hash_len": digest, **more}
    return argon2.low_level.hash_secret(
        PASSWORD.encode(), memory_cost=memory, time_cost=passes, parallelism=lanes, **options
    ).decode()


def bcrypt_hash(password: str, prefix: str = "$2b$") -> str:
    return bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode().replace("$2b$", prefix)


@pytest.fixture(scope="module")
def stored() -> str:
    return hash_password(PASSWORD)


Work = list[tuple[Any, ...]]


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """What Argon2 and bcrypt were asked to do; new hashes are not worked out."""
    done: Work = []

    def hash_secret(**options: Any) -> bytes:
        done.append((options["type"].name, options["memory_cost"], options["time_cost"], options["parallelism"]))
        return encoded("v=19$m=65536,t=3,p=1").encode()

    def checkpw(password: bytes, hashed: bytes) -> bool:
        matches = real_checkpw(password, hashed)
        done.append(("bcrypt",))
        return matches

    real_checkpw = bcrypt.checkpw
    monkeypatch.setattr(argon2.low_level, "hash_secret", hash_secret)
    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    return done


def test_a_new_hash(stored: str) -> None:
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=1$")
    assert verify_password(PASSWORD, stored) == FINE
    assert verify_password(PASSWORD + " ", stored) == NO


def test_two_hashes_of_one_password_differ(stored: str) -> None:
    assert hash_password(PASSWORD) != stored


def test_how_a_keyboard_composes_letters_does_not_matter(stored: str) -> None:
    assert NFD != PASSWORD
    assert verify_password(NFD, stored) == FINE


@pytest.mark.parametrize(
    "hopeless",
    [
        None,
        "",
        "!",
        "*",
        PASSWORD,
        "$argon2id$",
        "$1$abcdefgh$abcdefghabcdefghabcdef",
        "$2b$",
        "$2b$04$short",
        "$2x$04$" + "a" * 53,
        "$2b$03$" + "a" * 53,
        "$2b$16$" + "a" * 53,
        "$2b$31$" + "a" * 53,
        "$2b$04$" + "c" * 53,  # bits that no salt has
        "x" * 100_000,
        "\ud800",
        encoded("v=19$m=262145,t=1,p=1"),
        encoded("v=19$m=4194304,t=1,p=1"),
        encoded("v=19$m=65536,t=11,p=1"),
        encoded("v=19$m=65536,t=0,p=1"),
        encoded("v=19$m=65536,t=3,p=9"),
        encoded("v=19$m=65536,t=3,p=0"),
        encoded("v=19$m=63,t=3,p=8"),
        encoded("v=18$m=65536,t=3,p=1"),
        encoded("v=19$m=65536,t=3,p=1,keyid=AAAA"),
        encoded("v=19$m=65536,t=3,p=1", variant="x"),
        encoded("v=19$m=65536,t=3,p=1", salt="AAAA"),
        encoded("v=19$m=65536,t=3,p=1", salt="A" * 5000),
        encoded("v=19$m=65536,t=3,p=1", digest="AAAAAA"),
        encoded("v=19$m=65536,t=3,p=1", digest=DIGEST[:-1] + "R"),  # bits beyond the last byte
        encoded("v=19$m=65536,t=3,p=1") + "\n",
        encoded("v=19$m=٦٥٥٣٦,t=3,p=1"),
    ],
)
def test_what_matches_nothing_costs_one_hash(work: Work, hopeless: str | None) -> None:
    assert verify_password(PASSWORD, hopeless) == NO
    assert work == [("ID", 65536, 3, 1)]


def test_a_password_longer_than_any_costs_one_hash(work: Work, stored: str) -> None:
    for password in ("x" * 257, "x" * 2_000_000):
        assert verify_password(password, stored) == NO
    assert work == [("ID", 65536, 3, 1)] * 2


def test_one_that_could_never_match_is_not_hashed(work: Work) -> None:
    for length in (257, 1025):
        with pytest.raises(ValueError, match="at most 256"):
            hash_password("x" * length)
    assert work == []


def test_the_longest_password() -> None:
    composed = "\u1f82" * 256  # four characters each before NFC
    typed = unicodedata.normalize("NFD", composed)
    assert len(typed) == 1024
    assert verify_password(typed, hash_password(composed)) == FINE


def test_unpaired_surrogates_and_nul_are_passwords_like_others() -> None:
    odd = "\ud800 odd \0 odd"
    argon, legacy = hash_password(odd), bcrypt_hash("anything")
    assert verify_password(odd, argon) == FINE
    assert verify_password("\ud800 odd", argon) == NO
    assert verify_password(odd, legacy) == NO


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
def test_an_old_bcrypt_hash_signs_in_and_is_replaced(prefix: str) -> None:
    old = bcrypt_hash(PASSWORD, prefix)
    assert verify_password(PASSWORD, old) == OLD
    assert verify_password(PASSWORD[:-1], old) == NO


def test_bcrypt_never_counted_more_than_72_bytes() -> None:
    long = "ä" * 50
    assert verify_password(long, bcrypt_hash(long)) == OLD


def test_an_old_bcrypt_hash_is_of_what_was_typed(work: Work) -> None:
    """Trying both spellings would take twice as long, and tell who has such a hash."""
    assert verify_password(NFD, bcrypt_hash(NFD)) == OLD
    assert not verify_password(NFD, bcrypt_hash(PASSWORD)).matches
    assert work == [("bcrypt",)] * 2


@pytest.mark.parametrize(
    ("old", "verdict"),
    [
        (lambda: argon2_hash(65536, 2), OLD),
        (lambda: argon2_hash(19456, 2, lanes=2), OLD),
        (lambda: argon2_hash(8, 1), OLD),
        (lambda: argon2_hash(65536, 3, digest=16), OLD),
        (lambda: argon2_hash(65536, 3, type=argon2.Type.I), OLD),
        (lambda: argon2_hash(65536, 3, type=argon2.Type.D), OLD),
        (lambda: argon2_hash(65536, 3, version=16), OLD),
        (lambda: argon2_hash(65536, 3, lanes=4), FINE),
        (lambda: argon2_hash(65536, 4, digest=64), FINE),
        (lambda: argon2_hash(262144, 1), FINE),
    ],
)
def test_only_a_weaker_hash_is_replaced(old: Callable[[], str], verdict: Verdict) -> None:
    assert verify_password(PASSWORD, old()) == verdict


def test_a_wrong_password_is_no_reason_to_replace_a_hash() -> None:
    assert verify_password("wrong", argon2_hash(8, 1)) == NO


def test_refusals_take_the_same_time(stored: str) -> None:
    """The best of three, of this thread's own time: the machine may be busy."""

    def cost(hashed: str | None) -> float:
        begun = time.thread_time()
        assert verify_password("wrong", hashed) == NO
        return time.thread_time() - begun

    wrong, unknown, unbearable = (
        min(cost(hashed) for _ in range(3)) for hashed in (stored, None, encoded("v=19$m=4194304,t=9,p=1"))
    )
    assert 0.7 < unknown / wrong < 1.4
    assert 0.7 < unbearable / wrong < 1.4
