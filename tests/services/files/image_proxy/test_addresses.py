"""The proxy connects only to public addresses, and resolves a name once."""

import asyncio
import socket
from ipaddress import ip_address

import pytest

from services.errors import VendorTimeout, VendorUnreachable
from services.files import image_proxy
from services.files.image_proxy import ImageProxy, UrlRefused, is_public_address
from tests.helpers.files.image_host import HOST, JPEG, LOOPBACK, fetch


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.8",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "233.252.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:10::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:808:808::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_addresses_of_the_inside_are_not_public(address):
    assert not is_public_address(ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "157.240.1.63", "2a03:2880:f003:c07::1", "2001:200::1", "2606:4700::1"])
def test_addresses_of_the_internet_are_public(address):
    assert is_public_address(ip_address(address))


@pytest.fixture
def dialled(monkeypatch):
    """Record every attempt at TLS as (address, port, name) instead of connecting."""
    attempts = []
    connect = asyncio.open_connection

    async def refuse(address, port, **options):
        if not options.get("ssl"):  # servers of other tests run in this process too
            return await connect(address, port, **options)
        attempts.append((address, port, options["server_hostname"]))
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio, "open_connection", refuse)
    return attempts


@pytest.fixture
def looked_up(monkeypatch):
    """Record every name of the image hosts that is resolved; `answers` are returned in turn."""
    names: list[str] = []
    answers: list[list[str]] = []
    look_up = socket.getaddrinfo

    def getaddrinfo(name, port, *args, **options):
        if not str(name).endswith("cdninstagram.com"):
            return look_up(name, port, *args, **options)
        names.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in answers[len(names) - 1]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names, answers


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["2606:4700::1", "::1"], []])
async def test_a_name_with_any_private_address_is_not_connected_to(make_proxy, dialled, addresses):
    proxy = make_proxy([ip_address(address) for address in addresses], is_public=is_public_address)
    with pytest.raises(UrlRefused):
        await fetch(proxy)
    assert dialled == []


async def test_a_name_that_becomes_private_after_the_check_is_not_used(looked_up, dialled):
    """The strict proxy, with its own resolver: a name is resolved once, and the connection goes to that address."""
    names, answers = looked_up
    answers += [["93.184.216.34"], ["127.0.0.1"], ["93.184.216.34", "10.0.0.1"]]
    proxy = ImageProxy(["cdninstagram.com"])
    with pytest.raises(VendorUnreachable):
        await fetch(proxy)
    for _ in range(2):
        with pytest.raises(UrlRefused):
            await fetch(proxy)
    assert names == [HOST] * 3
    assert dialled == [("93.184.216.34", 443, HOST)]
    proxy.close()


async def test_connecting_does_not_resolve_the_name_again(proxy, host, looked_up, asked):
    await fetch(proxy)
    assert (asked, looked_up[0]) == ([HOST], [])
    assert host.visits[0].writer.get_extra_info("sockname")[0] == str(LOOPBACK)


async def test_a_name_that_does_not_exist_is_unreachable(proxy, make_proxy):
    async def fail(name):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(VendorUnreachable):
        await fetch(make_proxy(resolve=fail))


async def test_a_slow_resolver_times_out(monkeypatch):
    monkeypatch.setattr(image_proxy, "TOTAL_SECONDS", 0.05)

    async def never(name: str) -> list[image_proxy.Address]:
        await asyncio.Event().wait()
        return []

    proxy = ImageProxy(["cdninstagram.com"], resolve=never)
    with pytest.raises(VendorTimeout):
        await fetch(proxy)
    proxy.close()


async def test_a_dead_address_is_skipped(make_proxy, host, monkeypatch):
    monkeypatch.setattr(image_proxy, "CONNECT_SECONDS", 0.1)
    dead, silent = ip_address("127.0.0.2"), ip_address("127.0.0.3")
    with socket.create_server((str(silent), host.port)):  # accepts, and never answers with TLS
        assert await fetch(make_proxy([dead, silent, LOOPBACK])) == ("image/jpeg", JPEG)
        with pytest.raises(VendorUnreachable):
            await fetch(make_proxy([dead, silent]))


async def test_few_of_many_addresses_are_tried(make_proxy, host):
    with pytest.raises(VendorUnreachable):
        await fetch(make_proxy([ip_address(f"127.0.1.{n}") for n in range(1, 9)] + [LOOPBACK]))


async def test_a_certificate_of_another_name_is_not_accepted(make_proxy, host):
    with pytest.raises(VendorUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
        await fetch(make_proxy(), "https://scontent.fbcdn.net/x")
    assert host.visits == []


async def test_a_certificate_of_an_unknown_authority_is_not_accepted(make_proxy, host):
    with pytest.raises(VendorUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
        await fetch(make_proxy(tls=None))
    assert host.visits == []
