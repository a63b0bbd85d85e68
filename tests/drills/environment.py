"""Three instances behind nginx, each with its own proxies to one PostgreSQL and one Redis."""

import asyncio
import os
import secrets
import signal
import time
from contextlib import suppress
from pathlib import Path

import asyncpg
from redis import Redis
from redis.exceptions import RedisError

from db.migrate import migrate
from db.packaged.servers import EmbeddedServers, ServerUrls, free_port, launch_redis, redis_answers
from deploy.cluster import Cluster, find_nginx
from services.security.tokens import Tokens
from settings import load_settings
from tests.drills.clients import Member
from tests.drills.proxy import TcpProxy

INSTANCES = 3
START_SECONDS = 60
OPTIONS = {
    "LIMIT_GENERAL": "off",
    "LIMIT_MESSAGE": "off",
    "LIMIT_SOCKET_FRAMES": "off",
    "PASSWORD_COST": "4",
    "LOG_LEVEL": "WARNING",
    "JOBS_ENABLED": "false",
}

ADD_USER = """
    insert into users (name, email, password_hash, role, email_verified_at, terms_accepted_at, onboarded_at)
    values ($1, $2, 'none', $3, now(), now(), now()) returning id::text
"""
ADD_INFLUENCER = "insert into influencers (user_id) values ($1)"
ADD_SALON = "insert into salons (user_id, business_name) values ($1, $2)"
ADD_SESSION = "insert into sessions (user_id, expires_at) values ($1, now() + interval '1 day') returning id::text"
CONNECT = "insert into connection_requests (sender_id, receiver_id, status) values ($1, $2, 'ACCEPTED')"
OPEN_CONVERSATION = """
    with conversation as (
        insert into conversations (low_id, high_id) values (least($1::uuid, $2::uuid), greatest($1::uuid, $2::uuid))
        returning id, low_id, high_id
    ), participants as (
        insert into conversation_participants (conversation_id, user_id)
        select id, unnest(array[low_id, high_id]) from conversation
    )
    select id::text from conversation
"""


def processes_under(pid: int) -> list[int]:
    """Return the ids of a process and all its descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


async def add_members(conn: asyncpg.Connection, tokens: Tokens, conversations: int) -> list[Member]:
    """Add two members for each conversation, connected and signed in."""
    members = []
    for number in range(conversations):
        pair = []
        for role in ("INFLUENCER", "SALON"):
            user_id = await conn.fetchval(ADD_USER, f"{role} {number}", f"{role}{number}@example.com", role)
            if role == "SALON":
                await conn.execute(ADD_SALON, user_id, f"Salon {number}")
            else:
                await conn.execute(ADD_INFLUENCER, user_id)
            pair.append((user_id, tokens.access(user_id, role, await conn.fetchval(ADD_SESSION, user_id))))
        await conn.execute(CONNECT, pair[0][0], pair[1][0])
        conversation_id = await conn.fetchval(OPEN_CONVERSATION, pair[0][0], pair[1][0])
        for (user_id, token), (partner_id, _) in (pair, pair[::-1]):
            members.append(Member(user_id, token, conversation_id, partner_id))
    return members


class Environment:
    def __init__(self, folder: Path, options: str = "", **variables: str) -> None:
        """`variables` are added to the environment variables of the instances."""
        self.folder = folder
        self.servers = EmbeddedServers(folder / "data", options)
        self.variables = {**OPTIONS, **variables}
        self.cluster: Cluster | None = None
        self.database_proxies: list[TcpProxy] = []  # an instance each
        self.redis_proxies: list[TcpProxy] = []
        self.client_proxies: list[TcpProxy] = []  # a third of the clients each
        self.restarting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.urls = await asyncio.to_thread(self.servers.start)
        await asyncio.to_thread(migrate, self.urls.database_url)
        self.socket_folder = Path(self.urls.database_url.partition("host=")[2])
        password, _, address = self.urls.redis_url.partition("redis://:")[2].partition("@")
        redis_port = int(address.partition(":")[2].partition("/")[0])
        self.redis_direct = Redis.from_url(self.urls.redis_url, socket_timeout=2)
        self.database_proxies = [
            await TcpProxy(str(self.socket_folder / ".s.PGSQL.5432")).start() for _ in range(INSTANCES)
        ]
        self.redis_proxies = [await TcpProxy(("127.0.0.1", redis_port)).start() for _ in range(INSTANCES)]
        self.proxied = find_nginx() is not None
        self.port = free_port()
        ports = [free_port() for _ in range(INSTANCES)]
        # Known secrets, so that the drill can make tokens.
        self.secrets = {
            name: secrets.token_hex(32) for name in ("JWT_ACCESS_SECRET", "JWT_REFRESH_SECRET", "ENCRYPTION_KEY")
        }
        known = {name.lower(): value for name, value in self.secrets.items()}
        self.tokens = Tokens(load_settings(data_dir=self.folder / "data", **known))
        self.cluster = Cluster(
            self.folder, ports, self.port if self.proxied else None, self.urls, **self.secrets, **self.variables
        )
        for instance, database, redis in zip(
            self.cluster.instances, self.database_proxies, self.redis_proxies, strict=True
        ):
            instance.environment["DATABASE_URL"] = f"postgresql://encer@127.0.0.1:{database.port}/encer"
            instance.environment["REDIS_URL"] = f"redis://:{password}@127.0.0.1:{redis.port}/0"
        await asyncio.to_thread(self.cluster.start)
        doors = [self.port] * INSTANCES if self.proxied else ports
        self.client_proxies = [await TcpProxy(("127.0.0.1", door)).start() for door in doors]
        self.restarting = asyncio.create_task(self.restart_dead())

    def base(self, number: int) -> str:
        """Return where client `number` connects: a proxy of nginx, or of one instance where nginx is missing."""
        return f"http://127.0.0.1:{self.client_proxies[number % INSTANCES].port}"

    async def restart_dead(self) -> None:
        """Restart instances that have died, as systemd does."""
        assert self.cluster
        while True:
            await asyncio.sleep(0.5)
            await asyncio.to_thread(self.cluster.restart_dead)

    async def restart(self, number: int, how: int = signal.SIGTERM) -> None:
        """Stop an instance with this signal; return when it was started again."""
        assert self.cluster
        instance = self.cluster.instances[number]
        instance.signal(how)
        await asyncio.to_thread(instance.wait)
        while not instance.alive:
            await asyncio.sleep(0.1)
        await asyncio.to_thread(instance.wait_ready)

    def logged_errors(self) -> list[str]:
        """Return the errors that the instances logged; those of an outage do not count."""
        assert self.cluster
        lines = []
        for instance in self.cluster.instances:
            text = instance.log_path.read_text(errors="replace").splitlines()
            for number, line in enumerate(text):
                if "[error" in line or "never retrieved" in line:
                    raised = next((line for line in text[number + 2 : number + 80] if line[:1].strip()), "")
                    lines.append(f"instance {instance.number}: {line} {raised}")
        log = self.folder / "access.log"
        answers = log.read_text().splitlines() if log.exists() else []
        # An outage is a 503 with Retry-After, or a 504.
        lines += [f"nginx: {line}" for line in answers if line.split()[3] in ("500", "502")]
        return lines

    async def stop(self) -> None:
        if self.restarting:
            self.restarting.cancel()
            await asyncio.gather(self.restarting, return_exceptions=True)
        for proxy in [*self.client_proxies, *self.database_proxies, *self.redis_proxies]:
            proxy.restore()
        if self.cluster:
            await asyncio.to_thread(self.cluster.stop)
        for proxy in [*self.client_proxies, *self.database_proxies, *self.redis_proxies]:
            await proxy.stop()
        await asyncio.to_thread(self.servers.stop)

    async def add_members(self, conversations: int) -> list[Member]:
        """Add two members for each conversation, connected and signed in."""
        conn = await self.connect()
        members = await add_members(conn, self.tokens, conversations)
        await conn.close()
        return members

    async def connect(self) -> asyncpg.Connection:
        """Connect to PostgreSQL without a proxy."""
        return await asyncpg.connect(self.urls.database_url, timeout=START_SECONDS)

    # -- the servers -------------------------------------------------------------------------------------------------

    def redis_pid(self) -> int:
        return int(self.redis_direct.info("server")["process_id"])

    def start_redis(self) -> None:
        launch_redis(self.servers.folder / "redis.conf")
        while not redis_answers(self.urls.redis_url):
            pass

    def redis_runs(self) -> bool:
        try:
            return bool(self.redis_direct.ping())
        except RedisError:
            return False

    def postgres_pid(self) -> int:
        return int((self.servers.pgdata / "postmaster.pid").read_text().splitlines()[0])

    def signal_postgres(self, number: int) -> list[int]:
        pids = processes_under(self.postgres_pid())
        for pid in pids:
            with suppress(ProcessLookupError):  # a server process that has just ended
                os.kill(pid, number)
        return pids

    def kill_postgres(self) -> None:
        for pid in self.signal_postgres(signal.SIGKILL):
            while is_running(pid):
                time.sleep(0.01)
        # A dead process that was not waited for looks like a running one.
        for lock in (self.servers.pgdata / "postmaster.pid", self.socket_folder / ".s.PGSQL.5432.lock"):
            lock.unlink(missing_ok=True)

    def start_postgres(self) -> None:
        assert ServerUrls(self.servers.start_postgres(), self.urls.redis_url) == self.urls
