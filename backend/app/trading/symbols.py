"""What is traded, as exchanges and data vendors write it."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_SYMBOL: Final = r"[A-Za-z0-9^][A-Za-z0-9./^=+#*:_-]{0,19}"
"""BRK.B, BTC/USD, ^SPX, EURUSD=X, AAPL261218C00190000; the suffixes of CTA and Nasdaq (`-`, `+`, `=`, `#`, `*`)."""


def _upper_cased(value: str) -> str:
    # The alphabet comes first: there are letters beyond it whose upper case is in it.
    if not re.fullmatch(_SYMBOL, value):
        raise PydanticCustomError(
            "symbol", "Input should be a symbol of 1 to 20 characters, such as AAPL, BRK.B or BTC/USD"
        )
    return value.upper()


Symbol = Annotated[
    str,
    AfterValidator(_upper_cased),
    WithJsonSchema({"type": "string", "pattern": f"^{_SYMBOL}$", "examples": ["AAPL"]}),
]
"""A symbol in a request, upper-cased."""
