"""A real nginx with deploy/nginx.conf in front of a test's instances."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db.packaged.servers import free_port
from deploy.cluster import start_nginx, wait_for_nginx


@contextmanager
def running_nginx(folder: Path, instances: list[int]) -> Iterator[int]:
    """Start nginx, and yield its port when it accepts connections."""
    port = free_port()
    process = start_nginx(folder, port, instances)
    try:
        wait_for_nginx(process, folder, port)
        yield port
    finally:
        process.terminate()
        process.wait(20)
