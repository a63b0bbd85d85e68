"""Composition root: settings → migrations → pools → application → jobs → graceful stop. Nothing imports it."""

import gc
import sys

from services.logs import configure_logs, default_format, print_failure, start_logs, text_or_json, write_out

if __name__ == "__main__":
    gc.disable()  # until the start is complete: nearly all objects that it makes stay
    start_logs()  # before all other imports, so that their warnings have the format of all other lines

import asyncio
import errno
import signal
import socket
from contextlib import AsyncExitStack

import structlog
import uvloop
from tornado.netutil import bind_sockets

from db import tasks
from db.connect import UnusableDatabase, reason_of, wait_for_database
from db.migrations import has_all_migrations
from db.packaged.programs import ServersError
from db.packaged.servers import EmbeddedServers, ServerUrls
from db.pool import Database, DatabaseUnavailable
from db.queries.sessions import Sessions
from handlers.http.application import App
from handlers.http.server import HttpServer
from handlers.routes import make_table
from jobs.first_admin import first_admin_faults, make_first_admin
from jobs.loop import JobLoop
from jobs.outbox import Outbox
from jobs.run import JobContext
from jobs.table import JOBS
from realtime.sockets.socket import TORNADO_SETTINGS
from realtime.wiring import Realtime
from services.draining import requests_end, stop_accepting
from services.files.media import media_faults
from services.loop_lag import measure_loop_lag
from services.mail.choice import sender_faults, sender_from_settings
from services.redis_client import connect_redis
from services.redis_scripts import scripts_of
from services.resources import Resources, Services
from settings import Settings, SettingsError, load_settings, url_of

log = structlog.get_logger()

MAX_BODY_BYTES = 16 * 1024 * 1024  # the largest upload is 10 MiB; each endpoint has its own, lower bound
MAX_HEADER_BYTES = 96 * 1024  # above what nginx passes on: 4 × 16 KiB, a few headers of its own, 1 KiB
IDLE_SECONDS = 75.0  # keep-alive; above nginx's own, so that nginx never uses a closing connection
BODY_SECONDS = 60.0
NOTICE_SECONDS = 1.0  # between “not ready” and no new connections: how long a load balancer needs to notice
PROXY_IDLE_SECONDS = 5.0  # above the proxy's keep-alive to us (deploy/nginx.conf: 4 s), so that the proxy closes first
REQUESTS_SECONDS = 20.0  # running requests and commands may finish within this time after a stop was requested
STOP_SECONDS = 40.0  # for the whole stop; below the time after which systemd and compose kill


class CannotListen(Exception):
    """The text is a sentence for operators."""


def listen(host: str, port: int) -> list[socket.socket]:
    try:
        return bind_sockets(port, host)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(f"Port {port} is in use; choose another one with PORT=…") from None
        raise CannotListen(f"The server cannot listen on HOST and PORT: {reason_of(error)}. Choose others.") from None


class Instance:
    """One server process."""

    def __init__(self, settings: Settings, urls: ServerUrls) -> None:
        self.settings = settings
        self.urls = urls
        self.port = settings.port

    async def start(self) -> None:
        """Start all parts. A start that fails closes those that it has started, in reverse order, as `stop` does."""
        async with AsyncExitStack() as stack:
            listening = listen(self.settings.host, self.settings.port)  # first, because a port in use ends the start
            for sock in listening:
                stack.callback(sock.close)
            self.port = listening[0].getsockname()[1]
            resources = await self._connect(stack)
            await make_first_admin(self.db, self.services.passwords, self.settings)
            self._start_parts(resources, stack)
            self.http.add_sockets(listening)
            self.started = stack.pop_all()

    async def _connect(self, stack: AsyncExitStack) -> Resources:
        settings = self.settings
        redis_seconds = settings.redis_timeout.total_seconds()
        self.redis = connect_redis(self.urls.redis_url, settings.redis_sharded, redis_seconds)
        stack.push_async_callback(self.redis.aclose)
        scripts = scripts_of(self.redis, redis_seconds)
        stack.push_async_callback(scripts.close)
        strict = settings.app_env == "test"
        self.db = await Database.connect(self.urls.database_url, settings.database_pool_size, strict=strict)
        stack.push_async_callback(self.db.close)
        self.sessions = Sessions(self.db)
        self.services = Services.make(settings, scripts, self.db)
        stack.push_async_callback(self.services.close)
        return Resources(settings, self.urls.redis_url, self.db, self.sessions, self.services)

    def _start_parts(self, resources: Resources, stack: AsyncExitStack) -> None:
        settings = self.settings
        self.sender = sender_from_settings(settings)
        self.realtime = Realtime(resources)
        self.outbox = Outbox(self.db, self.services.encryption, self.sender)
        self.job_context = JobContext(resources, self.realtime.publisher, self.outbox)
        self.jobs = JobLoop(self.job_context, JOBS, settings.jobs_timezone, scheduled=settings.jobs_enabled)
        self.app = App(make_table(), resources, self.realtime, self.outbox.wake, self.jobs, **TORNADO_SETTINGS)
        for part in (self.realtime, self.outbox, self.jobs):
            stack.push_async_callback(part.stop)
            part.start()
        self.loop_lag = asyncio.create_task(tasks.supervise("event loop lag", measure_loop_lag), name="event loop lag")
        stack.push_async_callback(tasks.end, self.loop_lag)
        self.http = HttpServer(
            self.app,
            max_body_size=MAX_BODY_BYTES,
            max_buffer_size=MAX_BODY_BYTES,
            max_header_size=MAX_HEADER_BYTES,
            idle_connection_timeout=IDLE_SECONDS,
            body_timeout=BODY_SECONDS,
        )

    async def stop(self, notice: float = 0.0, proxy_idle: float = 0.0) -> None:
        """Stop in this order: answer 503 at /health/ready, notify the sockets, accept no connections, finish requests
        and commands, close the sockets, then stop all parts in reverse order of their start."""
        self.app.draining = True
        self.http.announce_closing()
        self.jobs.drain()
        await asyncio.sleep(notice)
        self.realtime.sockets.announce_drain()
        await stop_accepting(self.http)
        try:
            async with asyncio.timeout(REQUESTS_SECONDS):
                await requests_end(self.http, self.app.running, proxy_idle)
                await self.realtime.sockets.commands_end()
        except TimeoutError:
            log.info("requests were cut off at the end of the grace period")
        await self.realtime.sockets.close_all()
        await self.http.close_all_connections()
        await self.started.aclose()


def print_welcome(instance: Instance, embedded: bool) -> None:
    settings = instance.settings
    url = url_of(settings.host, instance.port)
    data = f"packaged PostgreSQL and Redis under {settings.data_dir}" if embedded else "DATABASE_URL and REDIS_URL"
    listens = f"Beautiful Encer listens on {url}"
    mails = instance.sender.destination
    pages = [f"  Try it: {url}/docs and {url}/docs/realtime"] if settings.shows_docs else []
    if not settings.production:
        pages.append("  People to sign in as: make seed, in another terminal")
    lines = ["", f"  {listens}", *pages, f"  Mails go to: {mails}", f"  Data: {data}", "  Stop with Ctrl-C", ""]
    write_out(text_or_json("\n".join(lines), listens, url=url, mails=mails, data=data))


def migrate(database_url: str) -> None:
    """Apply the missing migrations. yoyo and its driver take 10 MB, so only a start that needs them loads them."""
    import psycopg

    from db.migrate import migrate

    try:
        migrate(database_url)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable("it stopped while the migrations ran") from error


async def serve(settings: Settings, urls: ServerUrls, embedded: bool) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await wait_for_database(urls.database_url, stopping)
    if stopping.is_set():
        return
    if not await has_all_migrations(urls.database_url):
        await asyncio.to_thread(migrate, urls.database_url)
    instance = Instance(settings, urls)
    await instance.start()
    gc.freeze()  # a collection need not look at the objects of the start again
    gc.enable()
    print_welcome(instance, embedded)
    await stopping.wait()
    log.info("stopping")
    try:
        async with asyncio.timeout(STOP_SECONDS):
            if settings.production or settings.trusted_proxies:
                await instance.stop(NOTICE_SECONDS, PROXY_IDLE_SECONDS)
            else:
                await instance.stop()  # no proxy must notice the stop first
        log.info("stopped")
    except TimeoutError:
        log.error("stopped at the deadline")


def find_servers(settings: Settings, packaged: EmbeddedServers) -> ServerUrls:
    """Return the servers in the settings, and packaged ones for those that the settings leave out."""
    if settings.database_url and settings.redis_url:
        return ServerUrls(settings.database_url.get_secret_value(), settings.redis_url.get_secret_value())
    urls = packaged.start()
    if settings.database_url:
        urls.database_url = settings.database_url.get_secret_value()
    if settings.redis_url:
        urls.redis_url = settings.redis_url.get_secret_value()
    return urls


def main() -> int:
    try:
        settings = load_settings(first_admin_faults, sender_faults, media_faults)
    except SettingsError as error:
        print_failure("Invalid settings:", str(error).splitlines())
        return 2
    configure_logs(settings.log_format or default_format(settings.app_env), settings.log_level)
    servers = EmbeddedServers(settings.data_dir)
    embedded = settings.database_url is None or settings.redis_url is None
    try:
        uvloop.run(serve(settings, find_servers(settings, servers), embedded))
    except (ServersError, UnusableDatabase, CannotListen) as error:
        print_failure(str(error))
        return 1
    except DatabaseUnavailable as error:  # it stopped after the start had waited for it
        reason = reason_of(error.__cause__ or error)
        print_failure(
            f"The start failed because of the database: {reason}. Start the server again when the database works."
        )
        return 1
    except KeyboardInterrupt:  # while the packaged servers start; later signals are handled in `serve`
        return 130
    finally:
        servers.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
