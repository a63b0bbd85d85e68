"""The distribution's pgbouncer in transaction mode, in front of the PostgreSQL of the tests."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from db.packaged.programs import end_of, run_as
from db.packaged.servers import ServerUrls, free_port
from db.packaged.system_user import system_user
from tests.helpers.programs import find_program

START_SECONDS = 20.0
POOLER_CONNECTIONS = 5  # to PostgreSQL
# Round robin: each transaction gets another server connection than the one before, as can happen under load.
CONFIGURATION = """
[databases]
* = host={sockets} user=encer
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
admin_users = encer
pool_mode = transaction
default_pool_size = {connections}
server_round_robin = 1
max_client_conn = 500
logfile = {folder}/pgbouncer.log
"""


class Pgbouncer:
    """A running pgbouncer; `more` is added to its configuration."""

    def __init__(self, folder: Path, servers: ServerUrls, more: str = "") -> None:
        self.port = free_port()
        self.sockets = folder / "sockets"
        self.sockets.symlink_to(servers.database_url.partition("host=")[2])
        file = folder / "pgbouncer.ini"
        file.write_text(
            CONFIGURATION.format(sockets=self.sockets, port=self.port, folder=folder, connections=POOLER_CONNECTIONS)
            + more
        )
        user = system_user()  # pgbouncer refuses to run as root
        if user:
            shutil.chown(folder, user.pw_uid)
        program = find_program("pgbouncer")
        assert program
        self.process = subprocess.Popen([program, "--quiet", str(file)], stderr=subprocess.DEVNULL, **run_as(user))
        self.log = folder / "pgbouncer.log"

    def url(self, parameters: str = "", database: str = "encer") -> str:
        return f"postgresql://encer@127.0.0.1:{self.port}/{database}?{parameters}"

    def cut_off(self) -> None:
        """End its connections to PostgreSQL and prevent new ones."""
        sockets = self.sockets.readlink()
        self.sockets.unlink()
        with psycopg.connect(self.url(database="pgbouncer"), autocommit=True, row_factory=dict_row) as console:
            processes = [server["remote_pid"] for server in console.execute("show servers")]
        with psycopg.connect(f"postgresql://encer@/encer?host={sockets}", autocommit=True) as conn:
            conn.execute("select pg_terminate_backend(pid, 5000) from unnest(%s::int[]) pid", [processes])

    def wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, end_of(self.log)
                time.sleep(0.05)


@contextmanager
def running_pgbouncer(servers: ServerUrls, more: str = "") -> Iterator[Pgbouncer]:
    with tempfile.TemporaryDirectory(prefix="encer-pgbouncer-", ignore_cleanup_errors=True) as folder:
        pgbouncer = Pgbouncer(Path(folder), servers, more)
        try:
            pgbouncer.wait_until_it_listens()
            yield pgbouncer
        finally:
            pgbouncer.process.kill()
            pgbouncer.process.wait()
