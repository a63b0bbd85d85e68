"""Client addresses: how proxies write them, which proxies are trusted, and the network that limits count."""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from db.setting_types import decode_encryption_key
from settings import Settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAPPED_BITS = 96  # ::ffff:0:0/96 is IPv4 written as IPv6
IPV6_CLIENT_BITS = 64  # an internet line has a /64, so one client can use all of its addresses


def read_address(text: str) -> Address | None:
    """Return the address in `a.b.c.d`, `a.b.c.d:port`, `v6`, `[v6]` or `[v6]:port`, or None.

    IPv4 written as IPv6 becomes IPv4, and a zone (`%eth0`) is dropped: it has no meaning on another machine."""
    text = text.strip()
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        if not bracket or (port and not is_port(port.removeprefix(":"))):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not is_port(port):
            return None
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65_535


def read_network(text: str) -> Network:
    """Return the network in `address` or `address/bits`; `::ffff:a.b.c.d` becomes IPv4. Raises ValueError."""
    network = ip_network(text, strict=False)
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < MAPPED_BITS:
        return network
    return IPv4Network((mapped, network.prefixlen - MAPPED_BITS))


def client_address(peer: str | None, forwarded: str, proxies: Sequence[Network]) -> str:
    """Return the peer's address, or the last one in X-Forwarded-For that is not a trusted proxy.

    An entry that is not an address ends the search, because nothing before it can be trusted."""
    address = read_address(peer or "")
    if address is None:
        return "unknown"
    entries = forwarded.split(",")
    while entries and is_within(address, proxies):
        candidate = read_address(entries.pop())
        if candidate is None:
            break
        address = candidate
    return str(address)


def is_within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def network_of(address: str) -> str:
    """Return the network by which a client is counted: the IPv4 address or the IPv6 /64 prefix."""
    parsed = read_address(address)
    if parsed is None:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(ip_network((parsed, IPV6_CLIENT_BITS), strict=False))


class NetworkHashes:
    """Keyed hashes of networks, for rows that must recognise a network without revealing its address."""

    def __init__(self, settings: Settings) -> None:
        masters = [settings.encryption_key, *settings.encryption_keys_old]
        # These keys hash only networks.
        self.keys = [
            hashlib.blake2b(b"network", key=decode_encryption_key(master.get_secret_value()), digest_size=32).digest()
            for master in masters
        ]

    def hashes(self, network: str) -> list[bytes]:
        """Return the hash by the current key, which is to be stored, and the hashes by the old keys."""
        return [hmac.digest(key, network.encode(), "sha256") for key in self.keys]
