"""`make cluster`: three instances behind a real nginx, on one PostgreSQL and one Redis. One command, one Ctrl-C.

nginx runs deploy/nginx.conf, the file that is documented for production, with ports and paths substituted. An instance
that dies is started again, as systemd would; SIGHUP restarts all of them, one after the other (deploy/README.md).
"""

import argparse
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from db.migrate import migrate  # noqa: E402
from db.packaged.programs import ServersError  # noqa: E402
from db.packaged.servers import EmbeddedServers, ServerUrls, free_port  # noqa: E402
from services.commands import program  # noqa: E402
from services.logs import print_failure, write_out  # noqa: E402
from settings import SettingsError, load_settings  # noqa: E402

SERVER_OPTIONS = "max_fails=2 fail_timeout=5s"
PRODUCTION_SERVERS = "".join(f"        server 127.0.0.1:{port} {SERVER_OPTIONS};\n" for port in (3001, 3002, 3003))
START_SECONDS = 30.0
STOP_SECONDS = 50.0  # an instance gives itself 40
POLL_SECONDS = 0.1
NO_NGINX = """\
make cluster needs nginx, and there is none on this machine's PATH. Install it from your distribution:
    apt-get install nginx     (Debian, Ubuntu)
    dnf install nginx         (Fedora, RHEL)
    brew install nginx        (macOS)
One instance without it: make run
"""


class ClusterError(Exception):
    """An error whose text says what to do."""


def find_nginx() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def nginx_conf(port: int, instances: list[int]) -> str:
    """Return deploy/nginx.conf with this machine's ports and relative paths; every substitution must match."""
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    for production, mine in [
        (PRODUCTION_SERVERS, "".join(f"        server 127.0.0.1:{one} {SERVER_OPTIONS};\n" for one in instances)),
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        # Relative to nginx's prefix, which is the folder: in an absolute path nginx would read a $ as a variable.
        ('"/run/', '"'),
        ('"/var/log/nginx/', '"'),
        ('"/var/lib/nginx/', '"'),
        ("https://app.example.com ", "http://localhost:5173 "),
    ]:
        if production not in text:
            raise ClusterError(f"deploy/nginx.conf no longer holds {production!r}")
        text = text.replace(production, mine)
    return text


def start_nginx(folder: Path, port: int, instances: list[int]) -> subprocess.Popen[bytes]:
    """Start nginx at `port` before these instances; its files go into `folder`. Raises ClusterError."""
    program = find_nginx()
    if program is None:
        raise ClusterError(NO_NGINX)
    conf = folder / "nginx.conf"
    conf.write_text(nginx_conf(port, instances))
    # As root, nginx's workers run as another user who cannot enter the folder.
    directives = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
    command = [program, "-p", f"{folder}/", "-c", str(conf), "-e", str(folder / "error.log"), "-g", directives]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=START_SECONDS)
    if tested.returncode != 0:
        raise ClusterError(tested.stderr)
    return subprocess.Popen(command, start_new_session=True)


def wait_for_nginx(process: subprocess.Popen[bytes], folder: Path, port: int) -> None:
    """Return when nginx accepts connections. Raises ClusterError if it ends, or does not within START_SECONDS."""
    deadline = time.monotonic() + START_SECONDS
    while not accepts(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise ClusterError(f"nginx does not start:\n{(folder / 'error.log').read_text(errors='replace')}")
        time.sleep(POLL_SECONDS)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


class Instance:
    """One `server.py` process, restarted when it dies."""

    def __init__(self, number: int, port: int, folder: Path, environment: dict[str, str]) -> None:
        self.number = number
        self.port = port
        self.log_path = folder / f"instance-{number}.log"
        self.environment = {**environment, "PORT": str(port), "HOST": "127.0.0.1"}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            # A session of its own: Ctrl-C is for the runner, which then stops everything in order.
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "server.py")],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=2) as answer:
                value: bool = answer.status == 200
                return value
        except (OSError, urllib.error.URLError):
            return False

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.ready():
            if not self.alive or time.monotonic() > deadline:
                tail = "\n".join(self.log_path.read_text(errors="replace").splitlines()[-15:])
                raise ClusterError(f"instance {self.number} does not start; the end of {self.log_path}:\n{tail}")
            time.sleep(POLL_SECONDS)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        if self.alive and self.process:
            self.process.send_signal(number)

    def wait(self) -> None:
        if self.process is None:
            return
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Cluster:
    """Servers at `ports`, and nginx at `port` unless that is None. Its methods block."""

    def __init__(self, folder: Path, ports: list[int], port: int | None, urls: ServerUrls, **environment: str) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = port
        self.urls = urls
        public = f"http://127.0.0.1:{port or ports[0]}"
        own = {
            "DATABASE_URL": self.urls.database_url,
            "REDIS_URL": self.urls.redis_url,
            "DATA_DIR": str(self.folder / "data"),
            "PUBLIC_URL": os.environ.get("PUBLIC_URL", public),
            "TRUSTED_PROXIES": "127.0.0.1",
        }
        self.instances = [
            Instance(number, instance_port, self.folder, {**os.environ, **own, **environment})
            for number, instance_port in enumerate(ports, 1)
        ]
        self.nginx: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        migrate(self.urls.database_url)
        # The first one creates the development secrets; the others read them.
        for instance in self.instances:
            instance.start()
            instance.wait_ready()
        if self.port is not None:
            wait_for_nginx(self.start_nginx(self.port), self.folder, self.port)

    def start_nginx(self, port: int) -> subprocess.Popen[bytes]:
        self.nginx = start_nginx(self.folder, port, [instance.port for instance in self.instances])
        return self.nginx

    def restart_dead(self) -> list[int]:
        """Restart dead instances; return their numbers."""
        dead = [instance for instance in self.instances if not instance.alive]
        for instance in dead:
            instance.start()
        if self.nginx and self.nginx.poll() is not None and self.port is not None:
            self.start_nginx(self.port)
        return [instance.number for instance in dead]

    def roll(self) -> None:
        """Restart one instance after the other, each drained before and ready after."""
        for instance in self.instances:
            instance.signal(signal.SIGTERM)
            instance.wait()
            instance.start()
            instance.wait_ready()

    def stop(self) -> None:
        if self.nginx and self.nginx.poll() is None:
            self.nginx.send_signal(signal.SIGTERM)
            self.nginx.wait(STOP_SECONDS)
        for instance in self.instances:
            instance.signal(signal.SIGCONT)  # a frozen one cannot receive the signal
            instance.signal(signal.SIGTERM)
        for instance in self.instances:
            instance.wait()


def run(cluster: Cluster, asked: list[int]) -> None:
    """Run until SIGINT or SIGTERM; SIGHUP restarts the instances one after the other."""
    cluster.start()
    addresses = ", ".join(f"127.0.0.1:{instance.port}" for instance in cluster.instances)
    write_out(f"\n  Beautiful Encer listens on http://127.0.0.1:{cluster.port}: nginx before {addresses}")
    write_out(f"  Logs: {cluster.folder}/*.log    Mails: {cluster.folder}/data/mail")
    write_out(f"  A rolling restart: kill -HUP {os.getpid()}    Stop with Ctrl-C\n")
    while not {signal.SIGINT, signal.SIGTERM} & set(asked):
        if signal.SIGHUP in asked:
            asked.clear()
            write_out("  Rolling restart …")
            cluster.roll()
            write_out("  Done.")
        for restarted in cluster.restart_dead():
            write_out(f"  Instance {restarted} had died and was started again.")
        time.sleep(POLL_SECONDS)


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    config = load_settings(app_env="development")  # the runner has the servers that production requires
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=config.port, help="nginx' port")
    parser.add_argument("--folder", type=Path, default=ROOT / config.data_dir / "cluster")
    return parser.parse_args(arguments)


@contextmanager
def only_cluster(folder: Path) -> Iterator[None]:
    """Hold the folder during the block; the kernel releases it if this process dies. Raises ServersError."""
    with (folder / "cluster.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServersError(
                f"Another cluster uses {folder}: stop it, or choose another DATA_DIR and PORT."
            ) from None
        yield


def check_free(port: int) -> None:
    """Raise ServersError if another program listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as nginx: closed connections do not matter
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:  # above 65535
            reason = getattr(error, "strerror", error)
            raise ServersError(
                f"Port {port} cannot be used ({reason}): choose PORT=… so that it and the next three are free."
            ) from None


@program
def main() -> int:
    options = read_options()
    if find_nginx() is None:
        print_failure(NO_NGINX)
        return 1
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"DATA_DIR: {options.folder} cannot be made ({error.strerror})") from None
    with only_cluster(options.folder):
        port = options.port or free_port()
        ports = [port + n for n in (1, 2, 3)] if options.port else [free_port() for _ in range(3)]
        for one in (port, *ports):
            check_free(one)
        return start_and_run(options.folder, ports, port)


def start_and_run(folder: Path, ports: list[int], port: int) -> int:
    """Run the cluster on packaged servers until a signal; return the status of the program."""
    asked: list[int] = []  # signals; handled from the beginning, so that everything that was started is stopped
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: asked.append(received))
    servers = EmbeddedServers(folder / "data")
    try:
        cluster = Cluster(folder, ports, port, servers.start())
        try:
            run(cluster, asked)
        finally:
            write_out("  Stopping …")
            cluster.stop()
    except ClusterError as error:
        print_failure(f"{error}\nCorrect the cause that is named above, then run make cluster again.")
        return 1
    except ServersError as error:
        if not asked:  # Ctrl-C also reaches programs such as initdb
            print_failure(str(error))
            return 1
    finally:
        servers.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
