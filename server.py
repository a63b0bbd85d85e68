"""Composition root: settings → migrations → pools → application → jobs → graceful stop. Nothing imports it."""

import asyncio
import errno
import logging
import signal
import sys
from typing import Any

import structlog
import uvloop
from tornado.netutil import bind_sockets

from db.embedded import EmbeddedServers, ServerUrls
from db.migrate import migrate
from db.pool import Database
from db.programs import ServersError
from db.scrape_runs import ScrapeRuns
from db.sessions import Sessions
from db.tiktok_tokens import TikTokTokens
from handlers import make_table
from handlers.application import App
from handlers.http_server import Server
from jobs.first_admin import check_first_admin, make_first_admin
from jobs.loop import JobLoop
from jobs.outbox import Outbox
from jobs.run import Tools
from jobs.table import JOBS
from realtime import Realtime
from realtime.socket import TORNADO_SETTINGS
from services import Services
from services.draining import announce_closing, requests_end, stop_accepting
from services.mail import sender_from_settings
from services.redis_client import connect_redis
from settings import Settings, SettingsError, load_settings

log = structlog.get_logger()

MAX_BODY_BYTES = 16 * 1024 * 1024  # the largest upload is 10 MiB; each endpoint has its own, lower bound
MAX_HEADER_BYTES = 96 * 1024  # above what nginx passes on: 4 × 16 KiB, a few headers of its own, 1 KiB
IDLE_SECONDS = 75.0  # keep-alive; above nginx' own, so that it never meets a closing connection
BODY_SECONDS = 60.0
NOTICE_SECONDS = 1.0  # between “not ready” and no new connections: what a load balancer takes to look
PROXY_IDLE_SECONDS = 5.0  # above the proxy's own keep-alive to us (deploy/nginx.conf: 4 s), so that it closes, not we
REQUESTS_SECONDS = 20.0  # requests and commands that run may end within this, once a stop was asked for
STOP_SECONDS = 40.0  # for all of it; below what systemd and compose allow before they kill


class Instance:
    """One server: what it is made of, in the order in which it starts; `stop` goes the other way."""

    def __init__(self, settings: Settings, urls: ServerUrls) -> None:
        self.settings = settings
        self.urls = urls
        self.port = settings.port

    async def start(self) -> None:
        settings = self.settings
        self.redis = connect_redis(self.urls.redis_url, settings.redis_sharded, settings.redis_timeout.total_seconds())
        self.db = await Database.connect(self.urls.database_url, settings.database_pool_size)
        self.sessions = Sessions(self.db)
        self.services = Services.make(settings, self.redis, ScrapeRuns(self.db), TikTokTokens(self.db))
        await make_first_admin(self.db, self.services.passwords, settings)
        self.outbox = Outbox(self.db, self.services.encryption, sender_from_settings(settings))
        self.realtime = Realtime(
            settings, self.urls.redis_url, self.db, self.sessions, self.services.tokens, self.services.rate_limits
        )
        tools = Tools(settings, self.db, self.services, self.realtime.publisher.publish, self.outbox.wake)
        self.jobs = JobLoop(tools, JOBS, settings.jobs_timezone, scheduled=settings.jobs_enabled)
        self.app = App(
            make_table(), settings, self.db, self.sessions, self.services, self.realtime, self.outbox.wake, self.jobs,
            **TORNADO_SETTINGS,
        )  # fmt: skip
        self.sessions.start()
        self.realtime.start()
        self.outbox.start()
        self.jobs.start()
        self.http = Server(
            self.app,
            max_body_size=MAX_BODY_BYTES,
            max_buffer_size=MAX_BODY_BYTES,
            max_header_size=MAX_HEADER_BYTES,
            idle_connection_timeout=IDLE_SECONDS,
            body_timeout=BODY_SECONDS,
        )
        sockets = bind_sockets(settings.port, settings.host)
        self.port = sockets[0].getsockname()[1]
        self.http.add_sockets(sockets)

    async def stop(self, notice: float = 0.0, proxy_idle: float = 0.0) -> None:
        """Ready turns 503 → no new connections, no new sockets → sockets are told → what runs ends → sockets close →
        pools close."""
        self.app.draining = True
        announce_closing(self.http)
        self.jobs.drain()
        await asyncio.sleep(notice)
        self.realtime.announce_drain()
        await stop_accepting(self.http)
        try:
            async with asyncio.timeout(REQUESTS_SECONDS):
                await requests_end(self.http, self.app.running, proxy_idle)
                await self.realtime.commands_end()
        except TimeoutError:
            log.warning("requests were cut off at the end of the grace period")
        await self.realtime.close_sockets()
        await self.http.close_all_connections()
        await self.jobs.stop()
        await self.outbox.stop()
        await self.realtime.stop()
        await self.sessions.stop()
        await self.services.close()
        await self.db.close()
        await self.redis.aclose()


def configure_logs(settings: Settings) -> None:
    renderer: Any = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    if settings.log_format == "json":
        renderer = structlog.processors.JSONRenderer()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


def print_welcome(instance: Instance, embedded: bool) -> None:
    settings = instance.settings
    mails = "your mail server"
    if not settings.resend_api_key and not settings.email_host:
        mails = f"this console, and files in {settings.data_dir / 'mail'}"
    data = f"packaged PostgreSQL and Redis under {settings.data_dir}" if embedded else "DATABASE_URL and REDIS_URL"
    print(f"\n  Beautiful Encer listens on http://{settings.host}:{instance.port}")
    print(f"  Mails land in: {mails}")
    print(f"  Data: {data}")
    print("  Stop with Ctrl-C\n", flush=True)


async def serve(settings: Settings, urls: ServerUrls, embedded: bool) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await asyncio.to_thread(migrate, urls.database_url)
    instance = Instance(settings, urls)
    await instance.start()
    print_welcome(instance, embedded)
    await stopping.wait()
    log.info("stopping")
    try:
        async with asyncio.timeout(STOP_SECONDS):
            if settings.production or settings.trusted_proxies:
                await instance.stop(NOTICE_SECONDS, PROXY_IDLE_SECONDS)
            else:
                await instance.stop()  # nobody stands before it who would need time
        log.info("stopped")
    except TimeoutError:
        log.error("stopped at the deadline")


def find_servers(settings: Settings, packaged: EmbeddedServers) -> ServerUrls:
    """What the settings name; the packaged ones for what they leave out."""
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
        settings = load_settings()
        check_first_admin(settings)
    except SettingsError as error:
        print(f"These settings need to be mended:\n{error}", file=sys.stderr)
        return 2
    configure_logs(settings)
    servers = EmbeddedServers(settings.data_dir)
    embedded = settings.database_url is None or settings.redis_url is None
    try:
        uvloop.run(serve(settings, find_servers(settings, servers), embedded))
    except ServersError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        print(f"Port {settings.port} is taken; choose another one with PORT=…", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # while the packaged servers start; later ones are handled in `serve`
        return 130
    finally:
        servers.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
