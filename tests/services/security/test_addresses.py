"""The client's address behind proxies, and the network that rate limits count."""

from typing import Any

import pytest

from services.files.image_proxy import UrlRefused
from services.security.addresses import client_address, read_network
from settings import Limit
from tests.helpers.factories import PASSWORD

PROXY = "10.1.2.3"
CLIENT = "198.51.100.7"
CLIENT_V6 = "2001:db8:1:2::7"


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        (CLIENT, CLIENT),
        (f"{CLIENT}:51234", CLIENT),
        (f" {CLIENT} ", CLIENT),
        (f"::ffff:{CLIENT}", CLIENT),
        (f"[::ffff:{CLIENT}]:443", CLIENT),
        (CLIENT_V6, CLIENT_V6),
        (f"[{CLIENT_V6}]", CLIENT_V6),
        (f"[{CLIENT_V6}]:51234", CLIENT_V6),
        ("[FE80::1%eth0]:1", "fe80::1"),
        ("", PROXY),
        ("unknown", PROXY),
        ("_hidden", PROXY),
        (f"{CLIENT}:", PROXY),
        (f"{CLIENT}:port", PROXY),
        (f"{CLIENT}:65536", PROXY),
        (f"{CLIENT}:²", PROXY),
        pytest.param(f"{CLIENT}:{'1' * 5_000}", PROXY, id="a long port"),
        (f"[{CLIENT_V6}", PROXY),
        (f"[{CLIENT_V6}]51234x", PROXY),
        (f"[{CLIENT_V6}]:", PROXY),
    ],
)
@pytest.mark.parametrize("before", ["", "203.0.113.9, ", "nonsense,"])
def test_entries_in_the_spellings_of_proxies(before: str, entry: str, address: str):
    assert client_address(PROXY, before + entry, [read_network("10.0.0.0/8")]) == address


@pytest.mark.parametrize("peer", ["10.1.2.3", "::ffff:10.1.2.3", "::ffff:a01:203"])
@pytest.mark.parametrize("trusted", ["10.1.2.3", "::ffff:10.1.2.3", "::ffff:10.0.0.0/104", "10.0.0.0/8"])
@pytest.mark.parametrize("inner", ["10.1.2.3", "10.1.2.3:80", "::ffff:10.1.2.3", "[::ffff:10.1.2.3]:80"])
def test_a_trusted_proxy_is_recognised_in_every_spelling(peer: str, trusted: str, inner: str):
    assert client_address(peer, f"203.0.113.9, {CLIENT}:1, {inner}", [read_network(trusted)]) == CLIENT
    assert client_address(peer, CLIENT, [read_network("10.9.9.9")]) == "10.1.2.3"


def test_ipv6_proxies():
    assert client_address("fd00::1%eth0", f"[{CLIENT_V6}]:1, [fd00::2]:2", [read_network("fd00::/8")]) == CLIENT_V6
    assert read_network("::ffff:0:0/90").version == 6


@pytest.mark.parametrize("peer", [None, "", "/run/socket", "unknown"])
def test_a_peer_without_an_address_is_not_a_proxy(peer: str | None):
    assert client_address(peer, CLIENT, [read_network("0.0.0.0/0")]) == "unknown"


# Three spellings of one client's network by three proxies, and another client's address.
ONE_CLIENT = [f"[{CLIENT_V6}]:51234", "2001:db8:1:2:ffff::1", "[2001:db8:1:2:aaaa::]"]
OTHER_CLIENT = "[2001:db8:1:3::7]:51234"


def count_visitors(instance, monkeypatch):
    """Return a list that collects the names under which the image proxy counts later requests."""
    names: list[str] = []

    def refuse(url: str, visitor: str):
        names.append(visitor)
        raise UrlRefused("refused")

    monkeypatch.setattr(instance.services.image_proxy, "open", refuse)
    return names


async def test_every_limit_counts_one_client_as_one_network(instance, api, limit, monkeypatch):
    monkeypatch.setattr(instance.app, "proxies", [read_network("::ffff:127.0.0.1")])
    visitors = count_visitors(instance, monkeypatch)

    async def call(method: str, path: str, body: dict[str, Any] | None, address: str) -> int:
        return (await api.call(method, path, body, headers={"X-Forwarded-For": address})).status

    limit("limit_general", Limit(3, 900))
    assert [await call("GET", "/nothing", None, address) for address in ONE_CLIENT] == [404] * 3
    assert await call("GET", "/nothing", None, ONE_CLIENT[0]) == 429
    assert await call("GET", "/nothing", None, OTHER_CLIENT) == 404
    limit("limit_general", None)

    limit("limit_auth_ip", Limit(3, 900))
    guesses = [{"email": f"person{n}@example.com", "password": "a wrong guess"} for n in range(5)]
    addresses = [*ONE_CLIENT, ONE_CLIENT[0], OTHER_CLIENT]
    statuses = [await call("POST", "/auth/login", *guess) for guess in zip(guesses, addresses, strict=True)]
    assert statuses == [401] * 3 + [429, 401]

    for address in [*ONE_CLIENT, OTHER_CLIENT]:
        await call("GET", "/proxy/image?url=https://scontent.cdninstagram.com/a.jpg", None, address)
    assert visitors == ["2001:db8:1:2::/64"] * 3 + ["2001:db8:1:3::/64"]


async def test_a_session_stores_the_address_without_port(instance, api, people, db, monkeypatch):
    monkeypatch.setattr(instance.app, "proxies", [read_network("127.0.0.1")])
    person = await people.influencer()
    body = {"email": person.email, "password": PASSWORD}
    await api.post("/auth/login", body, headers={"X-Forwarded-For": f"{CLIENT}:51234"})
    assert await db.fetch("select ip_address from sessions where ip_address is not null") == [(CLIENT,)]
