"""Names that people choose: what an e-mail address and a username may be, and when two are the same.

They are kept as typed, and compared by `app.models.base.folded`.
"""

import re
from typing import Annotated

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from pydantic import AfterValidator, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

MAX_EMAIL = 254
"""RFC 5321 section 4.5.3.1.3, less the angle brackets."""

# Nothing is ever sent to an address, and a private network may call its domains what it likes.
SPECIAL_USE_DOMAIN_NAMES.clear()

_USERNAME = re.compile(r"[A-Za-z0-9._-]{3,64}", re.ASCII)


def check_email(value: str) -> str:
    """The address as it was typed.

    Raises:
        PydanticCustomError: it is not a bare address (RFC 5321, 6531), or is too long.
    """
    try:
        validate_email(
            value[: MAX_EMAIL + 1],
            check_deliverability=False,
            globally_deliverable=False,
            allow_display_name=False,
            strict=True,
        )
    except EmailNotValidError:
        raise PydanticCustomError("email", "Input should be an e-mail address such as ann@example.com") from None
    return value


def check_username(value: str) -> str:
    """The name as it was typed. Letters are ASCII, so that no name looks like another.

    Raises:
        PydanticCustomError: it is something else.
    """
    if not _USERNAME.fullmatch(value):
        raise PydanticCustomError("username", "Input should be 3 to 64 letters (a-z), digits, '.', '_' or '-'")
    return value


EmailAddress = Annotated[
    str, AfterValidator(check_email), WithJsonSchema({"type": "string", "format": "email", "maxLength": MAX_EMAIL})
]
Username = Annotated[
    str, AfterValidator(check_username), WithJsonSchema({"type": "string", "pattern": f"^{_USERNAME.pattern}$"})
]
FullName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
