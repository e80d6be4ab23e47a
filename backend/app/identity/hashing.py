"""Password hashes: Argon2id for every new one, and what older deployments stored for as long as it is there.

Everything here takes tens of milliseconds and megabytes: call it by way of `app.identity.passwords.HashingLane`.
"""

import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import bcrypt
from passlib.hash import argon2

from app.core.errors import ServiceUnavailable

MAX_LENGTH = 256
"""Characters of a password after NFC."""

MAX_TYPED = 4 * MAX_LENGTH
"""Characters before NFC, which makes one out of four at most. Time to normalise is quadratic in marks that combine."""

# RFC 9106 section 4, second choice, on one lane instead of four: cores are for other sign-ins.
MEMORY = 64 * 1024
"""KiB."""
PASSES = 3
LANES = 1
SALT_BYTES = 16
DIGEST_BYTES = 32

MAX_MEMORY = 256 * 1024
"""KiB that a stored hash may ask for."""
MAX_PASSES = 10
MAX_LANES = 8

_BCRYPT_BYTES = 72
"""More of a password never counted; this bcrypt refuses it instead of cutting it off."""

# Chosen while importing: threads that made their first use of it together would race.
argon2.set_backend("argon2_cffi")
_ARGON2ID: type[argon2] = argon2.using(  # type: ignore[no-untyped-call]
    type="ID",
    memory_cost=MEMORY,
    time_cost=PASSES,
    parallelism=LANES,
    salt_size=SALT_BYTES,
    digest_size=DIGEST_BYTES,
)

_ARGON2_HASH = re.compile(
    r"\$argon2(?P<variant>id|i|d)(?:\$v=(?P<version>16|19))?"
    r"\$m=(?P<memory>[0-9]{1,6}),t=(?P<passes>[0-9]{1,2}),p=(?P<lanes>[0-9])"
    r"\$(?P<salt>[A-Za-z0-9+/]{11,86})\$(?P<digest>[A-Za-z0-9+/]{22,86})"
)
# Costs above 15 take several seconds.
_BCRYPT_HASH = re.compile(r"\$2[aby]\$(?:0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}")
_EXHAUSTED = ("Memory allocation error", "Threading failure")


class HashingBusy(ServiceUnavailable):
    """No password can be hashed right now: too many others are, or memory is short."""

    code = "hashing_busy"

    def __init__(self) -> None:
        super().__init__("Too many passwords are being checked right now; try again in a moment.")


class Verdict(NamedTuple):
    matches: bool
    rehash: bool
    """Whether the password matches and deserves a better hash than the stored one."""


class _Argon2Hash(NamedTuple):
    """What a stored hash says of itself."""

    variant: str
    version: int
    memory: int
    passes: int
    lanes: int
    digest_bytes: int

    @property
    def is_bearable(self) -> bool:
        """Too little is refused by Argon2 itself."""
        return self.memory <= MAX_MEMORY and self.passes <= MAX_PASSES and self.lanes <= MAX_LANES

    @property
    def is_weak(self) -> bool:
        """By the work for a guess: memory may stand in for passes, and lanes save an attacker nothing."""
        outdated = self.variant != "id" or self.version < 0x13
        return outdated or self.memory * self.passes < MEMORY * PASSES or self.digest_bytes < DIGEST_BYTES


def normalised(password: str) -> str:
    """NFC: keyboards differ in how they compose a letter (RFC 8265 section 4.2.2)."""
    return unicodedata.normalize("NFC", password)


def hash_password(password: str) -> str:
    """The Argon2id hash of `password` after NFC.

    Raises:
        HashingBusy: there is no memory for it.
        ValueError: it is longer than any password may be, so that it would never match.
    """
    text = _acceptable(password)
    if text is None:
        raise ValueError(f"a password has at most {MAX_LENGTH} characters")
    with _memory_needed():
        hashed: str = _ARGON2ID.hash(_encoded(text))  # type: ignore[no-untyped-call]
    return hashed


def verify_password(password: str, stored: str | None) -> Verdict:
    """Whether `password` is the one whose hash is `stored`.

    What no password can match (None, what is no hash, a hash that asks for more than is borne) takes as long as a
    wrong password does.

    Raises:
        HashingBusy: there is no memory for it.
    """
    argon2_hash = _read_argon2(stored or "")
    text = _acceptable(password)
    matches: bool | None = None
    if stored and text is not None:
        if argon2_hash and argon2_hash.is_bearable:
            matches = _matches_argon2(text, stored)
        elif _BCRYPT_HASH.fullmatch(stored):
            matches = _matches_bcrypt(password, stored)
    if matches is None:
        hash_password("")
    return Verdict(bool(matches), rehash=bool(matches) and (argon2_hash is None or argon2_hash.is_weak))


def _acceptable(password: str) -> str | None:
    """The password after NFC, or None when it is longer than any may be."""
    if len(password) > MAX_TYPED:
        return None
    text = normalised(password)
    return text if len(text) <= MAX_LENGTH else None


def _encoded(text: str) -> bytes:
    """UTF-8, also of an unpaired surrogate: a wrong password is no error."""
    return text.encode(errors="surrogatepass")


def _read_argon2(stored: str) -> _Argon2Hash | None:
    if not (found := _ARGON2_HASH.fullmatch(stored)):
        return None
    return _Argon2Hash(
        variant=found["variant"],
        version=int(found["version"] or 0x10),
        memory=int(found["memory"]),
        passes=int(found["passes"]),
        lanes=int(found["lanes"]),
        digest_bytes=len(found["digest"]) * 6 // 8,
    )


def _matches_argon2(text: str, stored: str) -> bool | None:
    """None when Argon2 cannot read the hash after all, and has done no work."""
    try:
        with _memory_needed():
            return bool(_ARGON2ID.verify(_encoded(text), stored))  # type: ignore[no-untyped-call]
    except ValueError:
        return None


def _matches_bcrypt(password: str, stored: str) -> bool | None:
    """None when bcrypt cannot read the hash after all, and has done no work.

    Those who made these hashes did not normalise: the password counts as typed.
    """
    try:
        return bcrypt.checkpw(_encoded(password)[:_BCRYPT_BYTES], stored.encode())
    except ValueError:
        return None


@contextmanager
def _memory_needed() -> Iterator[None]:
    """Raises HashingBusy when memory is short, which is never a wrong password.

    To passlib every error of Argon2 is a malformed hash, and it reports the hash along with it.
    """
    try:
        yield
    except MemoryError:
        raise HashingBusy from None
    except ValueError as error:
        if any(reason in str(error) for reason in _EXHAUSTED):
            raise HashingBusy from None
        raise
