"""A real nginx with deploy/nginx.conf in front of a test's instances."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db.packaged.servers import free_port
from deploy.cluster import start_nginx


@contextmanager
def running_nginx(folder: Path, instances: list[int]) -> Iterator[int]:
    """Yield its port, once it accepts connections."""
    port = free_port()
    process = start_nginx(folder, port, instances)
    try:
        while not accepts(port):
            assert process.poll() is None, (folder / "error.log").read_text()
        yield port
    finally:
        process.terminate()
        process.wait(20)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True
