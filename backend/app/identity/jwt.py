"""The signed tokens of a session: compact JWS (RFC 7515) with the claims of RFC 9068, HS256 alone.

This service is the only one that signs them, so it reads nothing but what it would itself have written: one of a
handful of headers, compared as text before anything is parsed; a good signature; claims of one shape in one spelling.
Whether their time has come, or gone, is for the database's clock to say.
"""

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final, Literal, NamedTuple

from jose import jwk, jws
from jose.backends.base import Key
from jose.constants import ALGORITHMS
from jose.exceptions import JWSError
from jose.utils import base64url_encode
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from app.core.errors import InvalidToken
from app.web.schemas import MAX_ID

ISSUER: Final = "trading-backend"
AUDIENCE: Final = "trading-backend"
CLOCK_SKEW = timedelta(minutes=1)
"""How far a token's `iat` may lie in the future: a standby that took over may have a slower clock."""

# The last character of 32 bytes in base64url carries four bits: of 64 spellings only these 16 are canonical.
_COMPACT = re.compile(
    r"(?P<header>[\w-]{1,256})\.(?P<payload>[\w-]{1,512})\.[\w-]{42}[AEIMQUYcgkosw048]",
    re.ASCII,
)


class TokenType(StrEnum):
    """What the header says of a token (RFC 8725 section 3.11), so that one kind never passes for the other."""

    ACCESS = "at+jwt"
    REFRESH = "rt+jwt"


MAX_LIFETIME = {TokenType.ACCESS: timedelta(days=1), TokenType.REFRESH: timedelta(days=365)}
"""The most that the settings allow."""


def _fits_the_column(text: str) -> str:
    if int(text) > MAX_ID:
        raise ValueError("too large for an id")
    return text


_Id = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,9}$"), AfterValidator(_fits_the_column)]
_Jti = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{22}$")]
_Seconds = Annotated[int, Field(ge=0, lt=2**33)]


class Claims(BaseModel):
    """Who a token stands for, and from when to when, in whole seconds since 1970; always written in this order."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    iss: Literal["trading-backend"] = ISSUER
    aud: Literal["trading-backend"] = AUDIENCE
    sub: _Id
    sid: _Id
    jti: _Jti
    iat: _Seconds
    exp: _Seconds

    @classmethod
    def of(cls, user_id: int, session_id: int, jti: str, issued_at: datetime, expires_at: datetime) -> "Claims":
        return cls(
            sub=str(user_id),
            sid=str(session_id),
            jti=jti,
            iat=int(issued_at.timestamp()),
            exp=int(expires_at.timestamp()),
        )

    @property
    def user_id(self) -> int:
        return int(self.sub)

    @property
    def session_id(self) -> int:
        return int(self.sid)

    @property
    def lifetime(self) -> timedelta:
        return timedelta(seconds=self.exp - self.iat)

    def payload(self) -> bytes:
        return self.model_dump_json().encode()


def new_jti() -> str:
    return secrets.token_urlsafe(16)


class _Key(NamedTuple):
    """As a JWK, because jose takes some secrets for something else: PEM, a JSON number, a set of keys."""

    jwk: Key
    kid: str
    """Names the secret without telling it: what is hashed for it is no text that is ever signed."""

    @classmethod
    def of(cls, secret: str) -> "_Key":
        octets = secret.encode()
        oct_key = {"kty": "oct", "k": base64url_encode(octets).decode()}
        kid = hashlib.sha256(b"trading-backend kid\0" + octets).hexdigest()[:16]
        return cls(jwk.construct(oct_key, ALGORITHMS.HS256), kid)

    def sign(self, token_type: TokenType, payload: bytes = b"") -> str:
        return jws.sign(payload, self.jwk, {"kid": self.kid, "typ": token_type}, ALGORITHMS.HS256)


class SigningKeys:
    """The secret that signs, and the one before it, which still verifies while a rotation is under way."""

    def __init__(self, secret: str, previous: str | None = None) -> None:
        self._key = _Key.of(secret)
        known = [self._key] if previous is None else [self._key, _Key.of(previous)]
        self._by_header = {
            token_type: {key.sign(token_type).partition(".")[0]: key.jwk for key in known} for token_type in TokenType
        }

    def sign(self, token_type: TokenType, claims: Claims) -> str:
        """The token; the same claims always give the same."""
        return self._key.sign(token_type, claims.payload())

    def read(self, token_type: TokenType, token: str) -> Claims:
        """What a token says that was signed here as one of this type; it may have expired.

        Raises:
            InvalidToken: it was not.
        """
        parts = _COMPACT.fullmatch(token)
        key = self._by_header[token_type].get(parts["header"]) if parts else None
        if parts is None or key is None:
            raise InvalidToken
        try:
            claims = Claims.model_validate_json(jws.verify(token, key, ALGORITHMS.HS256))
        except (JWSError, ValidationError):
            raise InvalidToken from None
        if parts["payload"] != base64url_encode(claims.payload()).decode():
            raise InvalidToken
        if not timedelta() <= claims.lifetime <= MAX_LIFETIME[token_type]:
            raise InvalidToken
        return claims

    def wrote_header(self, token: str) -> bool:
        """Whether it has three segments and begins with one of the headers that nobody else would write."""
        header, *rest = token.split(".", 3)
        return len(rest) == 2 and any(header in headers for headers in self._by_header.values())
