"""JSON as any deployment may have stored it, read so that it can be sent to a client again."""

import json
from typing import Any, Final

MAX_DEPTH: Final = 200
"""Levels; pydantic writes up to 255, an answer's own among them."""


def loads(text: str) -> Any:
    """As `json.loads`; what no client could be sent is its own text instead.

    That is what is nested too deeply, holds half of a surrogate pair, or an integer of more than 4,300 digits.
    """
    try:
        value = json.loads(text)
        if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
            return text
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return text
    return value


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)
