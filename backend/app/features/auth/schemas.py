from typing import Annotated, Literal

from pydantic import Field, StrictBool

from app.identity.names import EmailAddress, FullName, Username
from app.identity.passwords import GivenPassword, NewPassword
from app.identity.schemas import UserReply
from app.web.schemas import Body, Reply


class SignInRequest(Body):
    username: Annotated[str, Field(min_length=1, max_length=255)]
    """An e-mail address or a username."""
    password: GivenPassword


class RefreshRequest(Body):
    refresh_token: Annotated[str, Field(repr=False)]


class NewAccount(Body):
    email: EmailAddress
    password: NewPassword
    username: Username | None = None
    full_name: FullName | None = None


class RegistrationRequest(NewAccount):
    invitation: Annotated[str | None, Field(repr=False)] = None
    """The token of an invitation; needed where REGISTRATION is `invite`."""


class ClaimRequest(NewAccount):
    keep_api_token: StrictBool = False
    """Whether the token that this is called with goes on as an ordinary API token."""


class PasswordResetRequest(Body):
    token: Annotated[str, Field(repr=False)]
    """As an owner handed it out."""
    new_password: NewPassword


class TokenReply(Reply):
    """What RFC 6749 section 5.1 answers."""

    access_token: Annotated[str, Field(repr=False)]
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the type
    expires_in: int
    """Seconds for which the access token is good."""
    refresh_token: Annotated[str, Field(repr=False)]
    scope: str
    """The permissions that the role grants, separated by spaces."""


class AccountReply(TokenReply):
    user: UserReply
