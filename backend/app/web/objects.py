"""What bodies have in common that change an object, or hold one of the client's own. Services may import it."""

import json
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from app.web.schemas import Body

MAX_OBJECT: Final = 64 * 1024
"""Bytes as JSON: such an object travels with every list."""

LEFT_OUT: Any = Field(default_factory=lambda: None)
"""The field may be left out, which is not the same as null; see `Changes`."""


class Changes(Body):
    """What is left out stays; null clears what may be empty."""

    def changes(self) -> dict[str, Any]:
        """What was sent, by column."""
        return self.model_dump(exclude_unset=True)


def _of_fit_size(value: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(value, ensure_ascii=False).encode()) > MAX_OBJECT:
        raise PydanticCustomError("too_large", "Input should have at most 65,536 bytes as JSON")
    return value


SmallObject = Annotated[dict[str, Any], AfterValidator(_of_fit_size)]
"""A JSON object of the client's own making."""
