"""Whose address a request came from, with proxies in between."""

from ipaddress import ip_network
from typing import Any

import pytest

from app.web import client
from app.web.client import client_address

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("192.0.2.1"), ip_network("2001:db8:ffff::/48")]


def seen(peer: tuple[str, int] | None, *forwarded: str, trusted: Any = TRUSTED) -> str | None:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return client_address({"type": "http", "client": peer, "headers": headers}, trusted)


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (("203.0.113.9", 1), "203.0.113.9"),
        (("2001:DB8::0:1", 1), "2001:db8::1"),
        (("::ffff:203.0.113.9", 1), "203.0.113.9"),
        (("fe80::1%eth0", 1), "fe80::1"),
        (("/run/socket", 0), None),
        (("", 0), None),
        (None, None),
    ],
)
def test_the_peer_is_the_client_without_a_proxy(peer: tuple[str, int] | None, expected: str | None) -> None:
    assert seen(peer) == expected


def test_a_stranger_is_not_believed() -> None:
    assert seen(("203.0.113.9", 1), "198.51.100.1") == "203.0.113.9"


def test_nobody_is_believed_by_default() -> None:
    assert seen(("10.0.0.1", 1), "198.51.100.1", trusted=[]) == "10.0.0.1"


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        (["198.51.100.1"], "198.51.100.1"),
        (["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1, 203.0.113.9, 10.1.1.1, 192.0.2.1"], "203.0.113.9"),
        (["198.51.100.1, 203.0.113.9", "10.1.1.1"], "203.0.113.9"),
        (["203.0.113.9,10.1.1.1"], "203.0.113.9"),
        (["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        (["203.0.113.9:443"], "203.0.113.9"),
        (["[2001:db8::7]:443, [2001:db8:ffff::1]"], "2001:db8::7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["::ffff:203.0.113.9, ::ffff:10.1.1.1"], "203.0.113.9"),
        (["fe80::1%whatever\tthis is"], "fe80::1"),
    ],
)
def test_a_trusted_proxy_is_believed_from_right_to_left(forwarded: list[str], expected: str) -> None:
    assert seen(("10.0.0.1", 1), *forwarded) == expected


@pytest.mark.parametrize(
    "entry", ["", "unknown", "_hidden", "203.0.113.999", "[::1", "203.0.113.9:port", "1" * 5000, "é", "[]:1"]
)
def test_the_walk_ends_at_what_is_no_address(entry: str) -> None:
    assert seen(("10.0.0.1", 1), f"198.51.100.1, {entry}") == "10.0.0.1"
    assert seen(("10.0.0.1", 1), f"198.51.100.1, {entry}, 10.1.1.1") == "10.1.1.1"


def test_what_is_longer_than_any_address_is_not_remembered() -> None:
    remembered = client._read_hop.cache_info  # noqa: SLF001
    known = remembered().currsize
    assert seen(("10.0.0.1", 1), "x" * 60_000) == "10.0.0.1"
    assert seen(("x" * 60_000, 1)) is None
    assert remembered().currsize <= known + 1
