"""What pydantic says of values that do not fit, in this API's terms. No FastAPI here: services may import it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from app.core.errors import FieldError

MAX_ERRORS = 50

# Pydantic's own words for these repeat what was sent, or a part of it.
_MESSAGES = {
    "union_tag_invalid": "Input should be one of those expected here",
    "union_tag_not_found": "Field required",
    "uuid_parsing": "Input should be a valid UUID",
    "url_parsing": "Input should be a valid URL",
    "url_syntax_violation": "Input should be a valid URL",
    "bytes_invalid_encoding": "Data is not validly encoded",
}

_ABOUT_A_TAG = ("union_tag_invalid", "union_tag_not_found")


def body_faults(error: ValidationError, body: Any) -> list[FieldError]:
    """An entry for each fault of `body`, none of which repeats a submitted value."""
    return [body_fault(fault, fault["loc"], body) for fault in error.errors(include_url=False)]


def body_fault(fault: Mapping[str, Any], path: Sequence[str | int], body: Any) -> FieldError:
    """The fault at `path`, with a JSON pointer (RFC 6901) to it."""
    kind = fault["type"]
    if kind in _ABOUT_A_TAG:
        tag = fault["ctx"]["discriminator"].strip("'")
        path, kind = [*path, tag], "missing" if kind == "union_tag_not_found" else kind
    return FieldError(_json_pointer(path, body, kind), kind, message_of(fault))


def message_of(fault: Mapping[str, Any]) -> str:
    if fault["type"] == "value_error" and "reason" in fault.get("ctx", {}):
        # Pydantic's e-mail addresses alone report a reason, with pieces of the address in it.
        return "Input should be a valid e-mail address"
    message: str = _MESSAGES.get(fault["type"], fault["msg"])
    return message.removeprefix("Value error, ")


def _json_pointer(path: Sequence[str | int], body: Any, fault_type: str) -> str:
    """The RFC 6901 pointer to `path`, `""` for the whole body."""
    tokens = (str(step).replace("~", "~0").replace("/", "~1") for step in _steps(path, body, fault_type))
    return "".join(f"/{token}" for token in tokens)


def _steps(path: Sequence[str | int], body: Any, fault_type: str) -> Iterator[str | int]:
    """Those steps of pydantic's location that exist in the body.

    The others name a member of a union, a tag or a validator. What is missing is the one step that need not
    exist.
    """
    value = body
    for position, step in enumerate(path):
        if _holds(value, step):
            value = value[step]
            yield step
        elif fault_type == "missing" and position == len(path) - 1:
            yield step


def _holds(value: Any, step: str | int) -> bool:
    if isinstance(value, Mapping):
        return step in value
    return isinstance(value, list) and isinstance(step, int) and step < len(value)
