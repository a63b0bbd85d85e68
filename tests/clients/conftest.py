"""What all tests of the clients use."""

import pytest

from tests.drills.proxy import TcpProxy


@pytest.fixture
def proxy(io_loop, api):
    """Start a proxy to the server that can cut connections."""
    proxy = TcpProxy(("127.0.0.1", api.instance.port))
    io_loop.run_sync(proxy.start)
    yield proxy
    io_loop.run_sync(proxy.stop)
