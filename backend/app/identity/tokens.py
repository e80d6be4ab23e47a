"""Random tokens: a prefix for their use, 43 base62 characters (256 bits), and a checksum of six.

The prefix lets secret scanners find a leaked token; the checksum (CRC-32 in base62) tells a typing error from a
token without asking the database, and scanners a token from a lookalike.
"""

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field

API_TOKEN = "tb_"  # noqa: S105 - public, as are the others
INVITATION = "tbi_"
PASSWORD_RESET = "tbr_"  # noqa: S105
PUBLIC_PREFIX_LENGTH = 12

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_LENGTH = 43
_CHECKSUM_LENGTH = 6
_SHAPE = re.compile(rf"[0-9A-Za-z]{{{_SECRET_LENGTH + _CHECKSUM_LENGTH}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class MintedToken:
    """The only moment at which the token exists in clear."""

    plain: str = field(repr=False)
    prefix: str
    secret_hash: bytes


def mint(prefix: str = API_TOKEN) -> MintedToken:
    body = prefix + "".join(secrets.choice(_BASE62) for _ in range(_SECRET_LENGTH))
    plain = body + _checksum(body)
    return MintedToken(plain, plain[:PUBLIC_PREFIX_LENGTH], hash_token(plain))


def hash_token(token: str) -> bytes:
    """SHA-256: the token is random and long, so that a slow hash would protect nothing more."""
    return hashlib.sha256(token.encode()).digest()


def is_mistyped(token: str) -> bool:
    """Whether it says it is an API token, but has not the shape or the checksum of one."""
    return token.startswith(API_TOKEN) and not is_well_formed(token, API_TOKEN)


def is_well_formed(token: str, prefix: str) -> bool:
    """Whether it has the prefix, the shape and the checksum of what `mint(prefix)` makes."""
    secret = token.removeprefix(prefix)
    body, checksum = token[:-_CHECKSUM_LENGTH], token[-_CHECKSUM_LENGTH:]
    return token.startswith(prefix) and bool(_SHAPE.fullmatch(secret)) and _checksum(body) == checksum


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_BASE62))
        digits = _BASE62[digit] + digits
    return digits
