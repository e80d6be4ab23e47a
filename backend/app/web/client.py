"""The address a request came from, seen through the proxies this deployment trusts."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from starlette.types import Scope

from app.core.settings import Network

Address = IPv4Address | IPv6Address


class _Hop(NamedTuple):
    address: Address
    text: str

    def is_within(self, networks: Sequence[Network]) -> bool:
        return bool(networks) and any(self.address in network for network in networks)


_LONGEST = 64
"""Characters, more than any address has with its zone and port."""

_ENTRY = re.compile(r"\[([^\]]+)\](?::[0-9]{1,5})?|([^:]+):[0-9]{1,5}|([^\[\]]+)")


def client_address(scope: Scope, trusted: Sequence[Network]) -> str | None:
    """The first address that is not a trusted proxy, walking X-Forwarded-For from right to left.

    The header counts only when the peer itself is trusted. An entry that is no address ends the walk at the
    proxy that passed it on. None without a peer (a Unix socket) or with one that is no address.
    """
    # uvicorn has a walk of its own (`proxy_headers`, on by default). It came before this one and put what it
    # found in scope["client"], believing the hosts in FORWARDED_ALLOW_IPS: 127.0.0.1 unless told otherwise.
    # A proxy on this machine is therefore believed without being in TRUSTED_PROXIES; `--no-proxy-headers`
    # leaves the decision here alone. Where uvicorn stopped at a proxy trusted here, this walk goes on.
    peer = scope.get("client")
    found = _hop(peer[0]) if peer else None
    if found is None or not found.is_within(trusted):
        return found and found.text
    for entry in _forwarded(scope["headers"]):
        hop = _hop(entry)
        if hop is None:
            break
        found = hop
        if not hop.is_within(trusted):
            break
    return found.text


def _forwarded(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[str]:
    values = [value for name, value in headers if name == b"x-forwarded-for"]
    return reversed(b",".join(values).decode("latin-1").split(","))


def _hop(text: str) -> _Hop | None:
    return _read_hop(text) if len(text) <= _LONGEST else None


@lru_cache(maxsize=4096)
def _read_hop(text: str) -> _Hop | None:
    """An address out of `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`.

    IPv4-mapped addresses come back as IPv4. A zone (`fe80::1%eth0`) is dropped: it means something to one
    host only, and may hold any text.
    """
    entry = _ENTRY.fullmatch(text.strip())
    if entry is None:
        return None
    host: str = entry[entry.lastindex or 0]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    address = getattr(address, "ipv4_mapped", None) or address
    return _Hop(address, str(address))
