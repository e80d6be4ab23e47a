"""Tokens that nobody should take for the service's own; the dangerous ones are signed with its real secret."""

import base64
import hashlib
import hmac
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

DROPPED: Any = ...
"""As the value of a member: leave the member out."""

FAR = 100 * 365 * 86_400


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def dump(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Forger:
    """Somebody who holds a genuine token and the secret it was signed with."""

    genuine: str
    secret: str

    @property
    def header(self) -> dict[str, Any]:
        header: dict[str, Any] = json.loads(decode(self.genuine.split(".")[0]))
        return header

    @property
    def claims(self) -> dict[str, Any]:
        claims: dict[str, Any] = json.loads(decode(self.genuine.split(".")[1]))
        return claims

    def with_header(self, **changes: Any) -> str:
        return self.token(header=_changed(self.header, changes))

    def with_claims(self, **changes: Any) -> str:
        return self.token(claims=_changed(self.claims, changes))

    def token(self, *, header: Any = None, claims: Any = None, secret: str | bytes | None = None) -> str:
        """HS256 over any header and payload; what is bytes is taken as it is."""
        signed = self.unsigned(header, claims)
        return f"{signed}.{encode(self.hmac(signed, secret))}"

    def unsigned(self, header: Any = None, claims: Any = None) -> str:
        parts = (self.header if header is None else header, self.claims if claims is None else claims)
        return ".".join(encode(dump(part)) for part in parts)

    def hmac(self, text: str, secret: str | bytes | None = None, algorithm: str = "sha256") -> bytes:
        key = self.secret if secret is None else secret
        return hmac.new(key.encode() if isinstance(key, str) else key, text.encode(), algorithm).digest()


def _changed(members: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (members | changes).items() if value is not DROPPED}


def forgeries(forger: Forger) -> dict[str, str]:
    """All of it, by what is wrong."""
    return dict(
        (*_other_algorithms(forger), *_headers(forger), *_claims(forger), *_payloads(forger), *_spellings(forger))
    )


def _other_algorithms(forger: Forger) -> Iterator[tuple[str, str]]:
    none: list[Any] = ["none", "None", "nOnE", "NONE", "", None, 0, [], {"none": 1}, DROPPED]
    for alg in none:
        signed = forger.unsigned(_changed(forger.header, {"alg": alg}))
        yield f"alg {alg!r} without a signature", f"{signed}."
        yield f"alg {alg!r} with one", f"{signed}.{encode(forger.hmac(signed))}"
    for alg, algorithm in (("HS384", "sha384"), ("HS512", "sha512")):
        signed = forger.unsigned(forger.header | {"alg": alg})
        yield alg, f"{signed}.{encode(forger.hmac(signed, algorithm=algorithm))}"
    yield "alg in lower case", forger.with_header(alg="hs256")
    yield from _key_confusion(forger)


def _key_confusion(forger: Forger) -> Iterator[tuple[str, str]]:
    private = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    numbers = private.public_key().public_numbers()
    jwk = {"kty": "RSA", "e": "AQAB", "n": encode(numbers.n.to_bytes(256, "big"))}
    signed = forger.unsigned(forger.header | {"alg": "RS256"})
    signature = private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    yield "RS256", f"{signed}.{encode(signature)}"
    signed = forger.unsigned(forger.header | {"alg": "RS256", "jwk": jwk})
    signature = private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    yield "RS256 with its own key", f"{signed}.{encode(signature)}"
    yield "HS256 with a public key for its secret", forger.token(secret=pem)
    signed = forger.unsigned(forger.header | {"alg": "ES256"})
    yield "ES256", f"{signed}.{encode(ec.generate_private_key(ec.SECP256R1()).sign(signed.encode(), _ECDSA))}"
    yield "ES256 with a signature of zeros", f"{signed}.{encode(bytes(64))}"


_ECDSA = ec.ECDSA(hashes.SHA256())


def _headers(forger: Forger) -> Iterator[tuple[str, str]]:
    for typ in (DROPPED, None, "", "JWT", "jwt", "at+JWT", "application/at+jwt", "xx+jwt", ["at+jwt"], 1):
        yield f"typ {typ!r}", forger.with_header(typ=typ)
    for kid in (DROPPED, None, "", "0" * 16, "../../dev/null", "' OR 1=1 --", 0, [forger.header["kid"]], "k" * 300):
        yield f"kid {kid!r}", forger.with_header(kid=kid)
    own_key = {"kty": "oct", "k": encode(b"x" * 32), "kid": forger.header["kid"]}
    extra: dict[str, Any] = {
        "jwk": own_key,
        "jku": "https://attacker.example/keys",
        "x5u": "https://attacker.example/cert",
        "x5c": ["MIIB"],
        "crit": ["exp"],
        "b64": False,
        "cty": "JWT",
        "zip": "DEF",
        "enc": "A256GCM",
    }
    for name, value in extra.items():
        yield f"header with {name}", forger.with_header(**{name: value})
        yield f"header with {name}, crit", forger.with_header(**{name: value, "crit": [name]})
    yield "own jwk", forger.token(header=forger.header | {"jwk": own_key}, secret=b"x" * 32)
    odd: dict[str, bytes] = {
        "in another order": dump(dict(reversed(forger.header.items()))),
        "with a blank": json.dumps(forger.header).encode(),
        "with a member twice": dump(forger.header)[:-1] + b',"alg":"none"}',
        "empty": b"",
        "an empty object": b"{}",
        "a list": b"[]",
        "null": b"null",
        "a number": b"1e999",
        "no JSON": b"{",
        "no UTF-8": b"\xff\xfe",
        "nested": b"[" * 3_000,
        "nested objects": b'{"a":' * 1_000,
        "large": b'{"a":"' + b"x" * 3_000 + b'"}',
    }
    for name, header in odd.items():
        yield f"header {name}", forger.token(header=header)


def _claims(forger: Forger) -> Iterator[tuple[str, str]]:
    iat, exp = forger.claims["iat"], forger.claims["exp"]
    number: list[Any] = [None, [], [exp], {}, True, False, "", float(exp), -1, -exp, 2**31 * 10**6, 10**400, "1e3"]
    ident: list[Any] = [None, "", 1, 1.0, True, [], ["1"], {}, "0", "-1", "+1", " 1", "1 ", "1\n", "01", "1.0", "1e0"]
    ident += ["\N{ARABIC-INDIC DIGIT ONE}", "\ud800", "\0", "x", "NaN", str(2**31), str(2**63), "9" * 5_000, "1_0"]
    values: dict[str, list[Any]] = {
        "iss": [None, "", "somebody else", ["trading-backend"], 1, "trading-backend ", "Trading-Backend"],
        "aud": [None, "", "somebody else", ["trading-backend"], [], ["trading-backend", "x"], {}, 1],
        "sub": ident,
        "sid": ident,
        "jti": [None, "", 1, [], "x", "x" * 21, "x" * 23, "x" * 21 + "\n", "x" * 21 + "é", "\ud800" * 22, "x" * 5_000],
        "iat": [*number, str(iat), exp + 1],
        "exp": [*number, str(exp), iat - 1, iat + FAR, 2**33, 253_402_300_800],
    }
    for name, wrong in values.items():
        for value in (DROPPED, *wrong):
            yield f"{name} {str(value)[:40]!r} {type(value).__name__}", forger.with_claims(**{name: value})
    for name in ("nbf", "scope", "role", "admin"):
        yield f"with {name}", forger.with_claims(**{name: exp})


def _payloads(forger: Forger) -> Iterator[tuple[str, str]]:
    good = dump(forger.claims)
    exp = str(forger.claims["exp"]).encode()
    odd: dict[str, bytes] = {
        "exp NaN": good.replace(exp, b"NaN"),
        "exp infinite": good.replace(exp, b"Infinity"),
        "exp minus infinite": good.replace(exp, b"-Infinity"),
        "exp 1e999": good.replace(exp, b"1e999"),
        "exp with an exponent": good.replace(exp, exp + b"e0"),
        "exp with a leading zero": good.replace(exp, b"0" + exp),
        "exp of 5,000 digits": good.replace(exp, b"9" * 5_000),
        "exp in time, twice": good[:-1] + b',"exp":' + exp + b"}",
        "sub twice": b'{"sub":"1",' + good[1:],
        "with a blank": json.dumps(forger.claims).encode(),
        "with a line feed": good + b"\n",
        "with more behind": good + b"{}",
        "in another order": dump(dict(reversed(forger.claims.items()))),
        "with an escape": good.replace(b'"sub"', b'"\\u0073ub"'),
        "with a lone surrogate": good.replace(b'"iss":"', b'"iss":"\\ud800'),
        "with a NUL": good.replace(b'"iss":"', b'"iss":"\\u0000'),
        "with a BOM": b"\xef\xbb\xbf" + good,
        "in UTF-16": good.decode().encode("utf-16"),
        "no UTF-8": b"\xff\xfe",
        "empty": b"",
        "an empty object": b"{}",
        "a list": b"[" + good + b"]",
        "null": b"null",
        "a string": dump(good.decode()),
        "nested": b"[" * 4_096,
        "nested within bounds": b"[" * 380,
        "nested objects": b'{"a":' * 800,
        "compressed": zlib.compress(good),
    }
    for name, payload in odd.items():
        yield f"payload {name}", forger.token(claims=payload)


def _spellings(forger: Forger) -> Iterator[tuple[str, str]]:
    header, payload, signature = forger.genuine.split(".")
    odd: dict[str, Callable[[], str]] = {
        "empty": str,
        "dots": lambda: "..",
        "without its signature": lambda: f"{header}.{payload}.",
        "two segments": lambda: f"{header}.{payload}",
        "four segments": lambda: f"{forger.genuine}.{signature}",
        "five segments, a JWE": lambda: f"{header}.{payload}.{signature}.{payload}.{signature}",
        "padded": lambda: f"{forger.genuine}=",
        "followed by a line feed": lambda: f"{forger.genuine}\n",
        "preceded by a blank": lambda: f" {forger.genuine}",
        "with a stray character in the signature": lambda: f"{header}.{payload}.{signature[:20]}*{signature[20:]}",
        "in the other alphabet": lambda: f"{header}.{payload}.{'+/' + signature[2:]}",
        "signature cut": lambda: forger.genuine[:-1],
        "signature of another": lambda: f"{header}.{payload}.{encode(hashlib.sha256(b'').digest())}",
        "signed with an empty secret": lambda: forger.token(secret=b""),
        "signed with a secret of one character": lambda: forger.token(secret="x"),
        "changed": lambda: f"{forger.unsigned(claims=forger.claims | {'jti': 'j' * 21 + 'k'})}.{signature}",
        "JSON serialization": lambda: json.dumps({"protected": header, "payload": payload, "signature": signature}),
    }
    for name, spelling in odd.items():
        yield name, spelling()
    for last in same_bytes(payload):
        signed = f"{header}.{payload[:-1]}{last}"
        yield f"payload with stray bits {last}, signed", f"{signed}.{encode(forger.hmac(signed))}"
    for last in same_bytes(signature):
        yield f"signature with stray bits {last}", f"{header}.{payload}.{signature[:-1]}{last}"


def same_bytes(segment: str) -> Iterator[str]:
    """Other last characters with which it means the same; none, where all its bits are used."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return (last for last in alphabet if last != segment[-1] and decode(segment[:-1] + last) == decode(segment))
