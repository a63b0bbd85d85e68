"""The image proxy and a host that it reaches on the loopback."""

import pytest

from services.files.image_proxy import ImageProxy
from settings import load_settings
from tests.helpers.files.image_host import LOOPBACK, Host
from tests.helpers.servers.tls import Authority


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
