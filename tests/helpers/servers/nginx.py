"""A real nginx in front of a test's instances: with deploy/nginx.conf, or with a prefix."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db.packaged.servers import free_port
from deploy.cluster import start_nginx, wait_for_nginx
from tests.helpers.programs import find_program

# Removes the prefix, as a proxy in front of several programs does.
PREFIX_CONF = """
    pid {folder}/pid;
    events {{}}
    http {{
        access_log off;
        client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
        fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
        server {{
            listen 127.0.0.1:{port};
            location {prefix} {{
                proxy_pass http://127.0.0.1:{instance}/;
                proxy_http_version 1.1;
                proxy_set_header Host $http_host;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection upgrade;
            }}
        }}
    }}
"""


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


@contextmanager
def nginx_with_prefix(folder: Path, port: int, prefix: str, instance: int) -> Iterator[None]:
    """Serve an instance at `port` under a prefix such as `/encer/`."""
    conf = folder / "nginx.conf"
    conf.write_text(PREFIX_CONF.format(folder=folder, port=port, prefix=prefix, instance=instance))
    directives = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
    program = find_program("nginx") or "nginx"
    process = subprocess.Popen([program, "-c", str(conf), "-e", str(folder / "error.log"), "-g", directives])
    try:
        wait_for_nginx(process, folder, port)
        yield
    finally:
        process.terminate()
        process.wait(20)
