"""URLs and redirects that the proxy refuses, and those that it follows."""

from ipaddress import ip_address

import pytest

from services.errors import VendorError
from services.files.image_proxy import ImageProxy, UrlRefused
from tests.helpers.files.image_host import HOST, JPEG, LOOPBACK, URL, Script, Visit, answer, fetch, sends


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
