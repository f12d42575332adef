"""From where a call comes, as it is counted: one address, and the network around it. Only keyed digests are kept."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from django.conf import settings

# One host has all the addresses of an IPv6 /64, and one site those of a /48 (RFC 6177); an IPv4 /24 is what is
# commonly given to one network.
PREFIXES = {4: (32, 24), 6: (64, 48)}


@dataclass(frozen=True)
class AddressDigests:
    """What is kept of an address: "" where there is none, as behind a proxy on a Unix socket."""

    address: str = ""
    network: str = ""

    @classmethod
    def of(cls, text: str) -> AddressDigests:
        address, network = _networks(text)
        return cls(_digest(address), _digest(network))


def _networks(text: str) -> tuple[str, str]:
    """Return the caller's own network and the one around it. What is no address stands for itself."""
    try:
        address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    except ValueError:
        return text, text
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    own, around = (ip_network((address, length), strict=False) for length in PREFIXES[address.version])
    return str(own), str(around)


def _digest(text: str) -> str:
    # Keyed, since all addresses can be tried out.
    return hmac.new(settings.SECRET_KEY.encode(), text.encode(), hashlib.sha256).hexdigest() if text else ""
