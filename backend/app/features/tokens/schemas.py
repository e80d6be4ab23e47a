from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from app.core.clock import Moment, Timestamp
from app.web.schemas import Body, Reply

Scope = Literal["read", "write", "admin"]


class TokenRequest(Body):
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    """What a person will know the token by."""
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=3)]
    """What the token may do, as far as its owner's role allows the same."""
    expires_at: Moment | None = None
    """From when on it is refused; never, where this is left out."""


class TokenReply(Reply):
    """A token as it is listed; the secret itself is nowhere."""

    id: int
    name: str
    prefix: str
    """Its first characters, to tell tokens apart."""
    scopes: list[str]
    created_at: Timestamp
    expires_at: Timestamp | None
    last_used_at: Timestamp | None
    """To the minute."""
    from_configuration: bool
    """Whether this is the token in API_TOKEN."""


class NewTokenReply(TokenReply):
    token: str
    """The token, shown this once."""
