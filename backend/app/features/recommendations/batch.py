"""Many recommendations in one body: a JSON list, or one JSON object a line (NDJSON)."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from pydantic import ValidationError

from app.core.errors import FieldError, InvalidInput
from app.features.recommendations.schemas import RecommendationRequest
from app.web.exact_json import loads
from app.web.faults import MAX_ERRORS, body_faults

MAX_ITEMS: Final = 1000
JSON: Final = "application/json"
NDJSON: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl")


def read_batch(body: bytes, media_type: str) -> dict[str, RecommendationRequest]:
    """The recommendations by the JSON pointer to each: its index, or that of its line; empty lines are passed over.

    Raises:
        InvalidInput: the body is neither of the two, empty or too long, or one of its items does not fit; says which.
    """
    # One more than there may be: what is longer need not be read to be refused.
    items = list(islice(_items(body, media_type), MAX_ITEMS + 1))
    if not 1 <= len(items) <= MAX_ITEMS:
        raise _refused("wrong_length", f"Send 1 to {MAX_ITEMS} recommendations")
    found: dict[str, RecommendationRequest] = {}
    faults: list[FieldError] = []
    for pointer, item in items:
        try:
            found[pointer] = RecommendationRequest.model_validate(item)
        except ValidationError as error:
            faults += [fault._replace(pointer=pointer + fault.pointer) for fault in body_faults(error, item)]
        if len(faults) >= MAX_ERRORS:
            break
    if faults:
        raise InvalidInput(faults[:MAX_ERRORS])
    return found


def _items(body: bytes, media_type: str) -> Iterator[tuple[str, Any]]:
    if media_type == JSON:
        parsed = _parsed(body, "")
        if not isinstance(parsed, list):
            raise _refused("list_type", "Input should be a list")
        yield from ((f"/{index}", item) for index, item in enumerate(parsed))
    elif media_type in NDJSON:
        # Not splitlines(): that would also break at a carriage return, which may stand between two tokens.
        for index, line in enumerate(body.split(b"\n")):
            if line.strip():
                yield f"/{index}", _parsed(line, f"/{index}")
    else:
        raise _refused("json_expected", f"Send a list as {JSON}, or one object a line as {NDJSON[0]}")


def _parsed(text: bytes, pointer: str) -> Any:
    try:
        return loads(text)
    except (ValueError, RecursionError):
        raise _refused("json_invalid", "This is not valid JSON", pointer) from None


def _refused(code: str, message: str, pointer: str = "") -> InvalidInput:
    return InvalidInput([FieldError(pointer, code, message)])
