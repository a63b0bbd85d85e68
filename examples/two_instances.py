"""Start two instances on one packaged PostgreSQL and Redis, run examples/chat.py over them, and stop them."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
PORTS = (3001, 3002)
START_SECONDS = 60


def wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def main() -> int:
    data_dir = ROOT / os.environ.get("DATA_DIR", ".data/example")
    servers = []
    try:
        for port in PORTS:
            environment = {**os.environ, "PORT": str(port), "DATA_DIR": str(data_dir), "LOG_LEVEL": "WARNING"}
            servers.append(
                subprocess.Popen([sys.executable, "server.py"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
            )
            wait_until_ready(port)
        bases = [f"http://127.0.0.1:{port}" for port in PORTS]
        return subprocess.run(
            [sys.executable, "examples/chat.py", *bases, str(data_dir / "mail")], cwd=ROOT, timeout=60
        ).returncode
    finally:
        for server in reversed(servers):  # the first one starts the packaged servers
            server.terminate()
            server.wait(START_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
