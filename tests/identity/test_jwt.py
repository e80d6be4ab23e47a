"""What a token of a session looks like, and that nothing else is taken for one."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jose import jwe, jwt

from app.core.errors import InvalidToken
from app.identity.jwt import Claims, SigningKeys, TokenType, new_jti
from tests.support.forgery import Forger, decode, forgeries, same_bytes

SECRET = "0f4c5cbbe1c24d1d9a7f4d5f0d9c3a51"
OTHER = "b7c0e2a94d5e4f9f8f0e6d1c2b3a4958"
KEYS = SigningKeys(SECRET)
NOW = datetime(2026, 1, 31, 12, 0, 0, 999_999, tzinfo=UTC)
ACCESS, REFRESH = TokenType.ACCESS, TokenType.REFRESH


def claims(lifetime: timedelta = timedelta(minutes=15), sub: int = 12, sid: int = 2**31 - 1) -> Claims:
    return Claims.of(sub, sid, "j" * 22, NOW, NOW + lifetime)


def token(token_type: TokenType = ACCESS, keys: SigningKeys = KEYS) -> str:
    return keys.sign(token_type, claims())


def is_refused(token: str, token_type: TokenType = ACCESS, keys: SigningKeys = KEYS) -> bool:
    """Any other exception fails the test."""
    try:
        keys.read(token_type, token)
    except InvalidToken:
        return True
    return False


def test_what_is_in_a_token() -> None:
    header, payload, signature = token().split(".")
    kid = json.loads(decode(header))["kid"]
    assert json.loads(decode(header)) == {"alg": "HS256", "kid": kid, "typ": "at+jwt"}
    assert json.loads(decode(payload)) == {
        "iss": "trading-backend",
        "aud": "trading-backend",
        "sub": "12",
        "sid": "2147483647",
        "jti": "j" * 22,
        "iat": 1_769_860_800,
        "exp": 1_769_861_700,
    }
    assert len(decode(signature)) == 32
    assert json.loads(decode(token(REFRESH).split(".")[0])) == {"alg": "HS256", "kid": kid, "typ": "rt+jwt"}


@pytest.mark.parametrize("token_type", TokenType)
def test_what_was_written_is_read(token_type: TokenType) -> None:
    read = KEYS.read(token_type, token(token_type))
    assert (read, read.user_id, read.session_id) == (claims(), 12, 2**31 - 1)


def test_any_library_reads_it_with_the_secret() -> None:
    signed = KEYS.sign(ACCESS, Claims.of(1, 2, new_jti(), datetime.now(UTC), datetime.now(UTC) + timedelta(minutes=1)))
    read = jwt.decode(signed, SECRET, algorithms=["HS256"], audience="trading-backend", issuer="trading-backend")
    assert (read["sub"], read["sid"]) == ("1", "2")


def test_the_same_claims_give_the_same_token() -> None:
    assert token() == token(keys=SigningKeys(SECRET, OTHER))
    assert len({new_jti() for _ in range(100)}) == 100


@pytest.mark.parametrize("token_type", TokenType)
def test_one_type_never_passes_for_the_other(token_type: TokenType) -> None:
    (other,) = set(TokenType) - {token_type}
    assert is_refused(token(other), token_type)


@pytest.mark.parametrize("sub", [1, 12, 123])
@pytest.mark.parametrize("token_type", TokenType)
def test_no_forgery_is_read(token_type: TokenType, sub: int) -> None:
    forger = Forger(KEYS.sign(token_type, claims(sub=sub)), SECRET)
    assert forger.token() == forger.genuine, "what the forger signs would be read, were nothing wrong with it"
    assert [name for name, forged in forgeries(forger).items() if not is_refused(forged, token_type)] == []


def test_a_lifetime_beyond_any_this_service_gives_is_not_read() -> None:
    for token_type, longest in ((ACCESS, timedelta(days=1)), (REFRESH, timedelta(days=365))):
        assert not is_refused(KEYS.sign(token_type, claims(longest)), token_type)
        assert is_refused(KEYS.sign(token_type, claims(longest + timedelta(seconds=1))), token_type)


def test_what_is_huge_is_refused_at_once() -> None:
    header, payload, signature = token().split(".")
    huge = "A" * 13_000_000
    started = time.monotonic()
    for forged in (huge, f"{huge}.{payload}.{signature}", f"{header}.{huge}.{signature}", f"{header}.{payload}.{huge}"):
        assert is_refused(forged)
        assert not KEYS.wrote_header(huge)
    assert is_refused("." * 1_000_000)
    assert time.monotonic() - started < 2


def test_a_jwe_is_not_opened() -> None:
    bomb = jwe.encrypt(bytes(1_000_000), SECRET, algorithm="dir", encryption="A256GCM", zip="DEF").decode()
    assert is_refused(bomb)
    assert not KEYS.wrote_header(bomb)


@pytest.mark.parametrize(
    "character", ["\ud800", "é", "\N{ARABIC-INDIC DIGIT ONE}", "\0", "\u2028", "\N{CYRILLIC SMALL LETTER A}"]
)
def test_characters_no_token_has(character: str) -> None:
    genuine = token()
    for place in (0, genuine.index("."), len(genuine) - 1, len(genuine)):
        assert is_refused(genuine[:place] + character + genuine[place:])
        assert is_refused(genuine[:place] + character + genuine[place + 1 :])


class TestRotationOfTheSecret:
    def test_the_previous_one_still_verifies(self) -> None:
        before, after = SigningKeys(SECRET), SigningKeys(OTHER, SECRET)
        for token_type in TokenType:
            assert after.read(token_type, token(token_type, before)) == claims()
            assert after.read(token_type, token(token_type, after)) == claims()

    def test_it_signs_nothing_more(self) -> None:
        after = SigningKeys(OTHER, SECRET)
        assert is_refused(token(keys=after), keys=SigningKeys(SECRET))
        assert token(keys=after) == token(keys=SigningKeys(OTHER))

    def test_and_is_forgotten_in_the_end(self) -> None:
        assert is_refused(token(), keys=SigningKeys(OTHER))

    def test_no_key_verifies_under_the_name_of_the_other(self) -> None:
        after = SigningKeys(OTHER, SECRET)
        for genuine, wrong in ((token(keys=after), SECRET), (token(), OTHER)):
            assert is_refused(Forger(genuine, wrong).token(), keys=after)

    def test_the_same_secret_twice_is_one(self) -> None:
        assert SigningKeys(SECRET, SECRET).read(ACCESS, token()) == claims()


@pytest.mark.parametrize(
    "secret",
    [
        "x",
        "1234567890" * 4,
        '{"kty":"oct","k":"AAAA"}',
        '["a", "b"]',
        "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
        "ssh-rsa AAAAB3NzaC1yc2E",
        "schlüssel 🗝" * 4,
    ],
)
def test_any_text_can_be_the_secret(secret: str) -> None:
    keys = SigningKeys(secret)
    assert Forger(token(keys=keys), secret).token() == token(keys=keys)
    assert keys.read(ACCESS, token(keys=keys)) == claims()
    assert is_refused(Forger(token(keys=keys), "AAAA").token(), keys=keys)


def test_tokens_tell_nothing_of_the_secret() -> None:
    forger = Forger(token(), SECRET)
    kid = forger.header["kid"]
    assert (len(kid), kid in SECRET) == (16, False)
    assert kid != Forger(token(keys=SigningKeys(OTHER)), OTHER).header["kid"]
    assert SECRET not in repr(vars(KEYS))


def test_whose_header_it_is() -> None:
    assert KEYS.wrote_header(token())
    assert KEYS.wrote_header(token(REFRESH))
    for other in (
        token(keys=SigningKeys(OTHER)),
        token().split(".", maxsplit=1)[0],
        "a.b.c",
        "..",
        "",
        f"{token()}.x",
        Forger(token(), SECRET).with_header(alg="none"),
    ):
        assert not KEYS.wrote_header(other)


_EDITS = st.lists(
    st.tuples(
        st.sampled_from(["insert", "replace", "delete", "swap", "repeat"]),
        st.integers(0, 10_000),
        st.one_of(st.sampled_from("._-=+/ \nAQgw09"), st.characters()),
    ),
    min_size=1,
    max_size=4,
)


def _edit(text: str, kind: str, place: int, character: str) -> str:
    place %= len(text) + 1
    head, tail = text[:place], text[place:]
    match kind:
        case "insert":
            return head + character + tail
        case "replace":
            return head + character + tail[1:]
        case "delete":
            return head + tail[1:]
        case "swap":
            return head + tail[1:2] + tail[:1] + tail[2:]
        case _:
            return head + tail + tail


@settings(deadline=None, max_examples=200)
@given(edits=_EDITS, token_type=st.sampled_from(list(TokenType)))
def test_no_edited_token_is_read(edits: list[tuple[str, int, str]], token_type: TokenType) -> None:
    genuine = edited = token(token_type)
    for kind, place, character in edits:
        edited = _edit(edited, kind, place, character)
    assert (edited == genuine) or is_refused(edited, token_type)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["12", "1", "trading-backend"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, max_examples=200)
@given(changes=st.dictionaries(st.sampled_from([*Claims.model_fields, "nbf"]), _JSON, min_size=1), raw=st.binary())
def test_no_other_payload_is_read_though_it_is_signed(changes: dict[str, object], raw: bytes) -> None:
    forger = Forger(token(), SECRET)
    assert is_refused(forger.token(claims=raw))
    changed = forger.claims | changes
    if is_refused(forger.with_claims(**changes)):
        return
    assert Claims.model_validate(changed).payload() == json.dumps(changed, separators=(",", ":")).encode()


def test_there_is_one_spelling_of_every_segment() -> None:
    """The corpus holds the others only where a segment has bits to spare."""
    spare = [
        len(list(same_bytes(segment)))
        for sub in (1, 12, 123)
        for segment in KEYS.sign(ACCESS, claims(sub=sub)).split(".")[1:]
    ]
    assert sorted(spare) == [0, 3, 3, 3, 3, 15]
