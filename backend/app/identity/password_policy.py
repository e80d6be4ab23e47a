"""What a password may be: 12 to 256 characters of any kind, and not easy to guess (NIST SP 800-63B section 3.1.1.2)."""

import re
from collections.abc import Iterable
from itertools import chain
from threading import Lock
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, SecretStr, WithJsonSchema
from pydantic_core import PydanticCustomError
from zxcvbn import zxcvbn
from zxcvbn.matching import L33T_TABLE

from app.core.errors import FieldError, InvalidInput
from app.identity.hashing import MAX_LENGTH, MAX_TYPED, normalised

MIN_LENGTH = 12
MIN_SCORE = 3
"""Of zxcvbn's 0 to 4: about 10^8 guesses and more."""

# What zxcvbn does grows with the square of the length, times the spellings that its look-alikes allow ("p4$$word"):
# 72 characters with all twenty of those take seconds. Ten different digits are common; look-alikes by the dozen are
# random, and show it early.
_MAX_SCORED = 72
_MAX_SCORED_AMBIGUOUS = 20
_MAX_LOOKALIKES = 8
_LOOKALIKES = frozenset(chain.from_iterable(L33T_TABLE.values()))

_MAX_ABOUT = 255
"""Characters of a name that are looked at."""
_MAX_WORDS = 50
_SEPARATORS = re.compile(r"[\W_]+")
_ONE_AT_A_TIME = Lock()
"""zxcvbn keeps the account's names in a dictionary of the whole process."""


class _Fault(NamedTuple):
    code: str
    message: str


def refuse_weak(password: str, *, pointer: str, about: Iterable[str | None]) -> None:
    """Refuse what may be no password, or is guessed easily by somebody who knows what is in `about`.

    Takes up to a quarter of a second: not for the event loop.

    Args:
        password: as typed; it counts after NFC.
        pointer: where the client sent it (RFC 6901).
        about: the account's names and address.

    Raises:
        InvalidInput: `password_too_short`, `password_too_long` or `password_too_weak`; the message says what to do.
    """
    if fault := _length_fault(password) or _guessable(password, about):
        raise InvalidInput([FieldError(pointer, *fault)])


def _length_fault(password: str) -> _Fault | None:
    length = len(normalised(password)) if len(password) <= MAX_TYPED else len(password)
    if length < MIN_LENGTH:
        return _Fault("password_too_short", f"A password has at least {MIN_LENGTH} characters")
    if length > MAX_LENGTH:
        return _Fault("password_too_long", f"A password has at most {MAX_LENGTH} characters")
    return None


def _guessable(password: str, about: Iterable[str | None]) -> _Fault | None:
    with _ONE_AT_A_TIME:
        result = zxcvbn(_scored(password), _words(about))
    if result["score"] >= MIN_SCORE:
        return None
    own = any(match.get("dictionary_name") == "user_inputs" for match in result["sequence"])
    reason = result["feedback"]["warning"] or ("It contains your own name or address." if own else "")
    advice = ["This password is too easy to guess.", reason, *result["feedback"]["suggestions"]]
    return _Fault("password_too_weak", " ".join(filter(None, advice)))


def _scored(password: str) -> str:
    """What of `password` zxcvbn looks at, which costs it at most a quarter of a second."""
    # It fails on a date before a line feed, and sees no repetition in line feeds.
    text = normalised(password)[:_MAX_SCORED].replace("\n", " ")
    return text if len(_LOOKALIKES.intersection(text)) <= _MAX_LOOKALIKES else text[:_MAX_SCORED_AMBIGUOUS]


def _words(about: Iterable[str | None]) -> list[str]:
    """Each name as a whole, run together, and its parts: likelier guesses first."""
    names = [normalised(name[:_MAX_ABOUT]) for name in about if name]
    wholes = list(chain.from_iterable((name, *name.split("@")) for name in names))
    run_together = (_SEPARATORS.sub("", whole) for whole in wholes)
    parts = chain.from_iterable(map(_SEPARATORS.split, names))
    return list(filter(None, dict.fromkeys(chain(wholes, run_together, parts))))[:_MAX_WORDS]


def _of_fit_length(password: SecretStr) -> SecretStr:
    if fault := _length_fault(password.get_secret_value()):
        raise PydanticCustomError(*fault)
    return password


def _of_any_length(password: SecretStr) -> SecretStr:
    if not 1 <= len(password) <= MAX_TYPED:
        raise PydanticCustomError("password_length", f"Send 1 to {MAX_TYPED} characters")
    return password


def _schema(shortest: int, longest: int) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", "format": "password", "writeOnly": True, "minLength": shortest, "maxLength": longest}
    )


NewPassword = Annotated[SecretStr, AfterValidator(_of_fit_length), _schema(MIN_LENGTH, MAX_LENGTH)]
"""A password to be set, of a length that is accepted; `refuse_weak` has the last word."""

GivenPassword = Annotated[SecretStr, AfterValidator(_of_any_length), _schema(1, MAX_TYPED)]
"""A password to be verified, which may be of any policy or none."""
