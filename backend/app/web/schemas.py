"""What every request and response body shares. No FastAPI here: services may import it."""

import math
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from app.core.errors import NotFound

MAX_ID = 2**31 - 1
"""PostgreSQL's INTEGER."""

MAX_DEPTH = 100
"""Levels of nesting in a body; pydantic refuses to serialise more than 255."""

MAX_VALUES = 100_000
"""Values in a body, at every level together: what a check of each may cost the event loop."""

MAX_KEYS = 200
"""Of a body itself; pydantic makes an error of each one that it does not know."""

_MAX_FAULTS = 20
_INTEGER = re.compile(r"-?[0-9]+", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")

_Path = tuple[str | int, ...]


class Body(BaseModel):
    """A request body: no unknown fields, and nothing in it that PostgreSQL or JSON cannot hold.

    Refused wherever they stand, in keys too: a NUL character, an unpaired surrogate, NaN and the infinities
    (which Python's parser accepts), nesting deeper than MAX_DEPTH, and more values than anybody needs.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _is_storable(cls, data: Any) -> Any:
        if isinstance(data, dict) and len(data) > MAX_KEYS:
            raise PydanticCustomError("too_many_fields", "The body has too many fields")
        faults = [
            InitErrorDetails(type=fault, loc=path, input=None) for path, fault in islice(_faults(data), _MAX_FAULTS)
        ]
        if faults:
            raise ValidationError.from_exception_data(cls.__name__, faults)
        return data


class Reply(BaseModel):
    """A response body; takes its fields from a mapped row as well."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)


class _Place(NamedTuple):
    """Where a container stands; spelled out as a path only for a fault, because a deep body has many places."""

    depth: int
    parent: "_Place | None"
    key: str | int

    def path(self) -> _Path:
        place, keys = self, []
        while place.parent is not None:
            keys.append(place.key)
            place = place.parent
        return tuple(reversed(keys))


def _faults(data: Any) -> Iterator[tuple[_Path, PydanticCustomError]]:
    """Where `data` cannot be stored. Walks without recursion: its depth is the client's choice."""
    pending: list[tuple[_Place, Any]] = [(_Place(0, None, ""), data)]
    left = MAX_VALUES
    while pending:
        place, container = pending.pop()
        if place.depth >= MAX_DEPTH:
            yield place.path(), PydanticCustomError("too_deep", "Nested too deeply")
            continue
        if isinstance(container, (dict, list)) and (left := left - len(container)) < 0:
            yield (), PydanticCustomError("too_many_values", "The body holds too many values")
            return
        for key, value in _members(container):
            if isinstance(key, str) and (fault := _scalar_fault(key)):
                # Its own name could not be put into the answer.
                yield place.path(), fault
            elif isinstance(value, (dict, list)):
                pending.append((_Place(place.depth + 1, place, key), value))
            elif isinstance(value, (str, float)) and (fault := _scalar_fault(value)):
                yield (*place.path(), key), fault


def _members(container: Any) -> Iterable[tuple[str | int, Any]]:
    if isinstance(container, dict):
        return container.items()
    return enumerate(container) if isinstance(container, list) else ()


def _scalar_fault(value: str | float) -> PydanticCustomError | None:
    if not isinstance(value, str):
        finite = math.isfinite(value)
        return None if finite else PydanticCustomError("finite_number", "Input should be a finite number")
    if "\0" in value:
        return PydanticCustomError("nul_character", "Text may not contain the NUL character")
    if not value.isascii() and _SURROGATE.search(value):
        return PydanticCustomError("unpaired_surrogate", "Text may not contain an unpaired surrogate")
    return None


def _storable_text(value: str) -> str:
    if fault := _scalar_fault(value):
        raise fault
    return value


def _fits_the_column(value: Any) -> Any:
    """Refuse in the client's terms: what is no integer is a mistake (422), what cannot exist is not found."""
    if not isinstance(value, str):
        return value
    if not _INTEGER.fullmatch(value):
        raise PydanticCustomError("int_parsing", "Input should be a valid integer")
    # The length comes first: int() refuses more than 4,300 digits.
    if len(value.lstrip("-0")) > len(str(MAX_ID)) or not 1 <= int(value) <= MAX_ID:
        raise NotFound
    return value


QueryText = Annotated[str, AfterValidator(_storable_text)]
"""Text of a query parameter that may be compared with a column."""

RowId = Annotated[
    int,
    BeforeValidator(_fits_the_column),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_ID}),
]
"""An id in a path or a query; NotFound when no row could have it."""
