"""The image proxy against normal, hostile and slow hosts, and hosts with private addresses."""

import asyncio
import gzip
import socket
from ipaddress import ip_address

import pytest

from services.errors import UnreadableAnswer, VendorError, VendorTimeout, VendorUnreachable
from services.files import image_proxy
from services.files.image_proxy import MAX_BYTES, ImageProxy, NotAnImage, UrlRefused, is_public_address
from services.slots import Busy, Slots
from settings import load_settings
from tests.helpers.image_host import HOST, IMAGES, JPEG, URL, Host, Script, Visit, answer
from tests.helpers.tls import Authority

LOOPBACK = ip_address("127.0.0.1")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def host(io_loop, authority):
    host = Host(authority)
    io_loop.run_sync(host.start)
    yield host
    io_loop.run_sync(host.stop)


@pytest.fixture
def asked() -> list[str]:
    """Return the names that proxies have resolved."""
    return []


@pytest.fixture
def make_proxy(host, authority, asked):
    """Return a proxy that resolves all names to the host and treats the loopback as public, by default."""
    made = []

    def make(addresses=(LOOPBACK,), **options):
        async def resolve(name):
            asked.append(name)
            return list(addresses)

        given = {"resolve": resolve, "is_public": lambda address: True, "tls": authority.client, "port": host.port}
        proxy = ImageProxy(load_settings(_env_file=None).image_proxy_hosts, **given | options)
        made.append(proxy)
        return proxy

    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture
def proxy(make_proxy):
    return make_proxy()


async def fetch(proxy: ImageProxy, url: str = URL) -> tuple[str, bytes]:
    async with proxy.open(url) as image:
        return image.content_type, b"".join([chunk async for chunk in image.chunks])


def sends(*parts: bytes) -> Script:
    async def script(visit: Visit) -> None:
        for part in parts:
            await visit.send(part)

    return script


# --- relayed ---


@pytest.mark.parametrize("content_type", IMAGES)
async def test_an_image_is_relayed_with_the_type_of_its_content(proxy, host, content_type):
    host.script = sends(answer(IMAGES[content_type], "Content-Type: text/html; charset=utf-8"))
    assert await fetch(proxy) == (content_type, IMAGES[content_type])


@pytest.mark.parametrize("pieces", [1, 3, 50])
async def test_an_image_that_arrives_in_pieces_is_whole(proxy, host, pieces):
    step = -(-len(JPEG) // pieces)
    chunks = [JPEG[start : start + step] for start in range(0, len(JPEG), step)]
    framed = [f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks]
    head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    host.script = sends(head[:9], head[9:], *framed, b"0\r\n\r\n")
    assert await fetch(proxy) == ("image/jpeg", JPEG)


async def test_an_image_without_a_length_ends_with_the_connection(proxy, host):
    host.script = sends(b"HTTP/1.1 200 OK\r\n\r\n", JPEG)
    assert await fetch(proxy) == ("image/jpeg", JPEG)


async def test_a_known_length_is_announced(proxy, host):
    async with proxy.open(URL) as image:
        assert image.length == len(JPEG)
    host.script = sends(b"HTTP/1.1 200 OK\r\n\r\n", JPEG)
    async with proxy.open(URL) as image:
        assert image.length is None


async def test_the_largest_image_is_relayed_without_being_held(proxy, host):
    host.script = sends(answer(JPEG.ljust(MAX_BYTES, b"x")))
    longest = total = 0
    async with proxy.open(URL) as image:
        async for chunk in image.chunks:
            longest, total = max(longest, len(chunk)), total + len(chunk)
    assert total == MAX_BYTES
    assert longest <= 4 * image_proxy.READ_BYTES


async def test_the_host_gets_its_name_and_path_and_no_data_of_the_visitor(proxy, host):
    await fetch(proxy)
    lines = host.visits[0].request.decode().split("\r\n")
    assert lines[0] == f"GET {URL.removeprefix(f'https://{HOST}')} HTTP/1.1"
    assert {line.split(":")[0].lower() for line in lines[1:] if line} == {
        "host",
        "accept",
        "accept-encoding",
        "user-agent",
        "connection",
    }
    assert f"Host: {HOST}" in lines
    assert "Accept-Encoding: identity" in lines
    assert host.names == [HOST]


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://cdninstagram.com", "/"),
        ("HTTPS://A.CDNINSTAGRAM.COM/x", "/x"),
        ("https://a.cdninstagram.com:443/x", "/x"),
        ("https://a.cdninstagram.com?a=1&b=%2F#part", "/?a=1&b=%2F"),
        ("https://a.cdninstagram.com//evil.example/x", "//evil.example/x"),
        ("https://a.cdninstagram.com/a/../b;c=1", "/a/../b;c=1"),
        (f"https://a.cdninstagram.com/{'x' * 4000}", f"/{'x' * 4000}"),
    ],
)
async def test_unusual_urls_of_allowed_hosts_are_asked_for(proxy, host, url, path):
    await fetch(proxy, url)
    assert host.visits[0].path == path


# --- refused without a request ---


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "//scontent.cdninstagram.com/x",
        "http://scontent.cdninstagram.com/x",
        "ftp://scontent.cdninstagram.com/x",
        "file:///etc/passwd",
        "file://scontent.cdninstagram.com/etc/passwd",
        "gopher://scontent.cdninstagram.com/x",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "https:scontent.cdninstagram.com/x",
        "https:///x",
        "https://",
        "https://evil.example/x",
        "https://evilfbcdn.net/x",
        "https://fbcdn.net.evil.example/x",
        "https://fbcdn.net./x",
        "https://.fbcdn.net/x",
        "https://a..fbcdn.net/x",
        "https://-a.fbcdn.net/x",
        "https://fbcdn.net%2eevil.example/x",
        "https://fbcdn%2enet/x",
        "https://fbcdn.net\\@evil.example/x",
        "https://evil.example\\.fbcdn.net/x",
        "https://evil.example#.fbcdn.net/x",
        "https://evil.example?.fbcdn.net/x",
        "https://evil.example/.fbcdn.net/x",
        "https://user@a.fbcdn.net/x",
        "https://user:pass@a.fbcdn.net/x",
        "https://@a.fbcdn.net/x",
        "https://a.fbcdn.net@evil.example/x",
        "https://a.fbcdn.net:80/x",
        "https://a.fbcdn.net:8443/x",
        "https://a.fbcdn.net:0/x",
        "https://a.fbcdn.net:99999/x",
        "https://a.fbcdn.net:4 43/x",
        "https://a.fbcdn.net:x/x",
        "https://localhost/x",
        "https://127.0.0.1/x",
        "https://127.1/x",
        "https://2130706433/x",
        "https://0x7f000001/x",
        "https://0x7f.1/x",
        "https://0177.0.0.1/x",
        "https://017700000001/x",
        "https://[::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://[::ffff:7f00:1]/x",
        "https://[fd00::1%25eth0]/x",
        "https://[a.fbcdn.net]/x",
        "https://[v1.fbcdn.net]/x",
        "https://[/x",
        "https://①②⑦.0.0.1/x",
        "https://a.fbcdn。net/x",
        "https://ａ.fbcdn.net/x",
        "https://a.fbcdn.net/写真.jpg",
        "https://a.fbcdn.net/x y",
        "https://a.fbcdn.net/x\r\nHost: evil.example",
        "https://a.fbcdn.net/x\0",
        "https://a.fb\tcdn.net/x",
        " https://a.fbcdn.net/x",
        "https://a.fbcdn.net/x\n",
        f"https://a.fbcdn.net/{'x' * 4096}",
        f"https://{'a' * 64}.fbcdn.net/x",
        f"https://{'a.' * 130}fbcdn.net/x",
        "https://169.254.169.254.fbcdn.net.evil.example/latest/meta-data",
    ],
)
async def test_other_urls_are_refused_without_a_request(proxy, host, url, asked):
    with pytest.raises(UrlRefused):
        await fetch(proxy, url)
    assert (asked, host.visits) == ([], [])


@pytest.mark.parametrize("hosts", [[], [""], [" ", "."]])
async def test_an_empty_list_of_hosts_allows_none(hosts):
    proxy = ImageProxy(hosts)
    with pytest.raises(UrlRefused):
        await fetch(proxy)
    proxy.close()


async def test_names_of_the_list_may_be_written_in_any_way(make_proxy, host):
    for spelling in ("CDNInstagram.com", ".cdninstagram.com", "cdninstagram.com."):
        proxy = ImageProxy([spelling])
        assert proxy._check(URL).host == HOST
        proxy.close()


# --- the address that it connects to ---


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


# --- redirects ---


def redirects(*locations: str) -> Script:
    """The host's n-th answer redirects to the n-th location; then it sends the image."""
    left = list(locations)

    async def script(visit: Visit) -> None:
        if left:
            await visit.send(answer(b"", f"Location: {left.pop(0)}", status="302 Found"))
        else:
            await visit.send(answer(JPEG))

    return script


async def test_three_redirects_are_followed_and_each_is_checked(proxy, host, asked):
    host.script = redirects("/two?x=1", "//b.cdninstagram.com/three", "https://c.cdninstagram.com/four")
    assert await fetch(proxy) == ("image/jpeg", JPEG)
    assert [visit.path for visit in host.visits][1:] == ["/two?x=1", "/three", "/four"]
    assert asked == [HOST, HOST, "b.cdninstagram.com", "c.cdninstagram.com"]
    assert host.names == asked


async def test_a_fourth_redirect_is_too_many(proxy, host):
    host.script = redirects(*["/again"] * 9)
    with pytest.raises(VendorError, match="too many redirects"):
        await fetch(proxy)
    assert len(host.visits) == 4


@pytest.mark.parametrize(
    "location",
    [
        "http://a.cdninstagram.com/x",
        "https://evil.example/x",
        "https://127.0.0.1/x",
        "https://2130706433/x",
        "https://[::1]/x",
        "https://a.cdninstagram.com:8443/x",
        "https://user@a.cdninstagram.com/x",
        "file:///etc/passwd",
        "ftp://a.cdninstagram.com/x",
        "//169.254.169.254/latest/meta-data",
        "\xff",
    ],
)
async def test_a_redirect_elsewhere_is_refused(proxy, host, location, asked):
    host.script = redirects(location)
    with pytest.raises(UrlRefused):
        await fetch(proxy)
    assert (len(host.visits), asked) == (1, [HOST])


async def test_a_redirect_to_an_allowed_name_inside_is_refused(make_proxy, host):
    async def resolve(name):
        return [LOOPBACK if name == HOST else ip_address("10.0.0.1")]

    host.script = redirects("https://inside.fbcdn.net/x")
    with pytest.raises(UrlRefused):
        await fetch(make_proxy(resolve=resolve, is_public=lambda address: address == LOOPBACK))


@pytest.mark.parametrize("headers", [[], ["Location: https://["], ["Location: "]])
async def test_a_redirect_to_nowhere_is_a_failure(proxy, host, headers):
    host.script = sends(answer(b"", *headers, status="302 Found"))
    with pytest.raises(VendorError):
        await fetch(proxy)


# --- answers ---


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><script>alert(1)</script></html>",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
        b"<?xml version='1.0'?><svg/>",
        b"\n\xff\xd8\xff\xe0",
        b"%PDF-1.7 %%EOF",
        b'{"secret": 1}',
        gzip.compress(JPEG, mtime=0),
        b"\xff\xd8",
    ],
)
async def test_other_content_is_not_relayed_under_any_declared_type(proxy, host, body):
    host.script = sends(answer(body, "Content-Type: image/jpeg"))
    with pytest.raises(NotAnImage):
        await fetch(proxy)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip"])
async def test_a_compressed_answer_is_not_unpacked(proxy, host, encoding):
    for body in (gzip.compress(b"\0" * 10**7, mtime=0), JPEG):
        host.script = sends(answer(body, f"Content-Encoding: {encoding}"))
        with pytest.raises(NotAnImage, match="compressed"):
            await fetch(proxy)


@pytest.mark.parametrize(
    "status", ["204 No Content", "206 Partial Content", "304 Not Modified", "404 Not Found", "500 X"]
)
async def test_any_other_status_is_a_failure(proxy, host, status):
    body = b"" if status[:3] in ("204", "304") else JPEG
    host.script = sends(answer(body, status=status))
    with pytest.raises(VendorError):
        await fetch(proxy)


async def test_an_announced_length_over_the_limit_is_refused_before_the_body(proxy, host):
    host.script = sends(answer(JPEG, length=MAX_BYTES + 1))
    with pytest.raises(NotAnImage):
        await fetch(proxy)


def endless(head: bytes, piece: bytes) -> Script:
    async def script(visit: Visit) -> None:
        await visit.send(head)
        while True:
            await visit.send(piece)

    return script


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\xff\xd8\xff\r\n"
PIECE = b"x" * 65536


@pytest.mark.parametrize(
    ("head", "piece"),
    [(CHUNKED, b"10000\r\n" + PIECE + b"\r\n"), (b"HTTP/1.1 200 OK\r\n\r\n\xff\xd8\xff", PIECE)],
)
async def test_an_endless_image_ends_at_the_limit(proxy, host, head, piece):
    host.script = endless(head, piece)
    received = 0
    with pytest.raises(NotAnImage):
        async with proxy.open(URL) as image:
            async for chunk in image.chunks:
                received += len(chunk)
    assert MAX_BYTES - 65536 < received <= MAX_BYTES


async def test_an_image_in_tiny_chunks_is_aborted(proxy, host):
    host.script = endless(CHUNKED, b"1\r\nx\r\n" * 1000)
    with pytest.raises(NotAnImage):
        await fetch(proxy)


async def test_a_client_that_does_not_read_slows_down_the_host(proxy, host, monkeypatch):
    held_up = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.send(CHUNKED)
        for _ in range(1000):  # 64 MB: more than the sockets' own buffers take
            try:
                async with asyncio.timeout(0.2):
                    await visit.send(b"10000\r\n" + PIECE + b"\r\n")
            except TimeoutError:
                held_up.set()
                return

    host.script = script
    async with proxy.open(URL) as image:
        await anext(image.chunks)
        await held_up.wait()


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [b"HTTP/1.1 200 OK\r\nContent-Le"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"],
        [answer(JPEG, length=len(JPEG) + 1)],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\xff\xd8\xff\r\n"],
    ],
)
async def test_a_silent_host_times_out(proxy, host, monkeypatch, sent):
    async def script(visit: Visit) -> None:
        for part in sent:
            await visit.send(part)
        await visit.wait_for_end()

    monkeypatch.setattr(image_proxy, "TOTAL_SECONDS", 0.1)
    host.script = script
    with pytest.raises(VendorTimeout):
        await fetch(proxy)
    await host.visits[0].ended.wait()


async def test_a_host_that_sends_slowly_times_out(proxy, host, monkeypatch):
    async def script(visit: Visit) -> None:
        await visit.send(answer(b"", length=MAX_BYTES) + JPEG)
        while True:
            await visit.send(b"x")
            await asyncio.sleep(0.01)

    monkeypatch.setattr(image_proxy, "TOTAL_SECONDS", 0.2)
    host.script = script
    with pytest.raises(VendorTimeout):
        await fetch(proxy)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"hello\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"h" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        answer(JPEG, length=len(JPEG) + 1),
        CHUNKED + b"ffff\r\nxx",
    ],
)
async def test_a_malformed_or_broken_answer_is_a_failure(proxy, host, sent):
    host.script = sends(sent)
    with pytest.raises(VendorError) as raised:
        await fetch(proxy)
    assert type(raised.value) in (UnreadableAnswer, VendorError)


async def test_endless_interim_answers_are_a_failure(proxy, host):
    host.script = endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n")
    with pytest.raises(VendorError):
        await fetch(proxy)


# --- waiting ---


async def test_leaving_early_ends_the_connection(proxy, host):
    async def script(visit: Visit) -> None:
        await visit.send(answer(JPEG, length=MAX_BYTES))
        await visit.wait_for_end()

    host.script = script
    with pytest.raises(LookupError):
        async with proxy.open(URL):
            raise LookupError("the client is gone")
    await host.visits[0].ended.wait()


async def test_images_beyond_the_queue_are_refused_as_busy(proxy, host, monkeypatch):
    proxy._slots = Slots(running=1, waiting=1)
    answers = await asyncio.gather(*(fetch(proxy) for _ in range(4)), return_exceptions=True)
    assert answers[:2] == [("image/jpeg", JPEG)] * 2
    assert [type(answer) for answer in answers[2:]] == [Busy, Busy]
    assert await fetch(proxy) == ("image/jpeg", JPEG)


async def test_waiting_in_the_queue_counts_as_time(proxy, host, monkeypatch):
    monkeypatch.setattr(image_proxy, "TOTAL_SECONDS", 0.1)
    proxy._slots = Slots(running=1, waiting=5)
    async with proxy._slots.take():
        answers = await asyncio.gather(fetch(proxy), fetch(proxy), return_exceptions=True)
    assert [type(answer) for answer in answers] == [VendorTimeout] * 2
    assert host.visits == []
