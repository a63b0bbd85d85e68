"""Three instances in this process behind the real nginx. A process for each takes two seconds of CPU to start."""

import asyncio
import subprocess
from datetime import timedelta
from pathlib import Path

import asyncpg

from db.packaged.servers import ServerUrls, free_port
from deploy.cluster import STOP_SECONDS, start_nginx, wait_for_nginx
from server import Instance
from services.security.tokens import Tokens
from settings import load_settings
from tests.drills.clients import Member
from tests.drills.environment import INSTANCES, add_members
from tests.drills.proxy import TcpProxy


class LocalEnvironment:
    """Used like tests.drills.environment.Environment, on a migrated PostgreSQL and a Redis that run already."""

    def __init__(self, folder: Path, urls: ServerUrls, token_seconds: float) -> None:
        self.folder = folder
        self.urls = urls
        self.settings = load_settings(
            app_env="test",
            data_dir=folder / "data",
            access_token_expires_in=timedelta(seconds=token_seconds),
            log_level="ERROR",
            jobs_enabled=False,
            redis_timeout=timedelta(seconds=10),  # a busy machine does not count as an outage
        )
        self.tokens = Tokens(self.settings)
        self.instances: list[Instance] = []
        self.client_proxies: list[TcpProxy] = []
        self.nginx: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        for _ in range(INSTANCES):
            self.instances.append(await self._start_instance(port=0))
        port = free_port()
        self.nginx = start_nginx(self.folder, port, [instance.port for instance in self.instances])
        await asyncio.to_thread(wait_for_nginx, self.nginx, self.folder, port)
        self.client_proxies = [await TcpProxy(("127.0.0.1", port)).start() for _ in range(INSTANCES)]

    async def _start_instance(self, port: int) -> Instance:
        instance = Instance(self.settings.model_copy(update={"port": port}), self.urls)
        await instance.start()
        return instance

    async def stop(self) -> None:
        for proxy in self.client_proxies:
            proxy.restore()
        if self.nginx:
            self.nginx.terminate()
            await asyncio.to_thread(self.nginx.wait, STOP_SECONDS)
        for instance in self.instances:
            await instance.stop()
        for proxy in self.client_proxies:
            await proxy.stop()

    async def restart(self, number: int) -> None:
        instance = self.instances[number]
        await instance.stop()
        self.instances[number] = await self._start_instance(instance.port)

    def base(self, number: int) -> str:
        return f"http://127.0.0.1:{self.client_proxies[number % INSTANCES].port}"

    async def connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.urls.database_url)

    async def add_members(self, conversations: int) -> list[Member]:
        conn = await self.connect()
        try:
            return await add_members(conn, self.tokens, conversations)
        finally:
            await conn.close()
