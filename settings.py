"""Settings of the server: environment variables or `.env`, checked once at start (contract §8).

All invalid or missing variables are reported together, by name, without their values.
"""

import base64
import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from dotenv.parser import parse_stream
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from db.setting_types import (
    DatabaseUrl,
    EncryptionKey,
    EncryptionKeys,
    ImageHosts,
    Networks,
    Origins,
    RedisUrl,
    Secret,
    Url,
    VendorUrl,
    check_host,
    check_public_url,
    check_timezone,
)

UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
VERSION = "0.2.0"  # shown by /health and the API descriptions

ENV_FILE = Path(".env")
LOOPBACK = ("127.0.0.1", "localhost", "::1")  # names by which a browser may address this machine
GENERATED_SECRETS = ("jwt_access_secret", "jwt_refresh_secret", "encryption_key")
# Hosts of TikTok's and Instagram's pictures; the image proxy fetches from these hosts only.
IMAGE_HOSTS = (
    "cdninstagram.com,fbcdn.net,instagram.com,tiktokcdn.com,tiktokcdn-us.com,tiktokcdn-eu.com,"
    "tiktokv.com,muscdn.com,ibyteimg.com,byteoversea.com"
)


def parse_duration(value: Any) -> timedelta:
    """Read `15m`, `7d`, `100s` or `250ms`. A number alone is refused, because its unit is unclear."""
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", str(value).strip())
    if match is None:
        raise ValueError("must be a number and a unit (ms, s, m, h or d), for example 15m, 7d or 100s")
    seconds = float(match[1]) * UNIT_SECONDS[match[2]]
    if not 0 < seconds <= 366 * 86400:
        raise ValueError("must be above zero and at most a year")
    return timedelta(seconds=seconds)


class Limit(NamedTuple):
    """At most `hits` in `period` seconds; with `burst`, a steady `hits/period` of which `burst` may come at once."""

    hits: int
    period: float
    burst: int | None = None


def parse_limit(value: Any) -> Limit | None:
    """Read `60/1m+30` (hits / period + burst) or `off`."""
    if value is None or isinstance(value, Limit):
        return value
    if value == "off":
        return None
    match = re.fullmatch(r"([1-9]\d{0,8})/([1-9]\d*[smhd]|[smhd])(?:\+([1-9]\d{0,8}))?", str(value).strip())
    if match is None:
        raise ValueError("must look like 5/15m, 60/1m+30 or off")
    period = match[2] if match[2][0].isdigit() else "1" + match[2]
    return Limit(int(match[1]), parse_duration(period).total_seconds(), int(match[3]) if match[3] else None)


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
RateLimit = Annotated[Limit | None, BeforeValidator(parse_limit)]
Check = Callable[[Mapping[str, Any]], list[str]]  # takes settings as they are written, returns `NAME: fault` lines


class SettingsError(Exception):
    """The text names every invalid or missing setting, one per line, without values."""


def describe_faults(error: ValidationError) -> list[str]:
    faults = []
    for fault in error.errors(include_input=False, include_url=False):
        name, *entry = fault["loc"]
        of_list = f"entry {int(entry[0]) + 1} " if entry else ""
        faults.append(f"{str(name).upper()}: {of_list}{fault['msg'].removeprefix('Value error, ')}")
    return faults


def production_faults(values: Mapping[str, Any]) -> list[str]:
    """Return the settings that production requires and development may leave out."""
    if values.get("app_env") != "production":
        return []
    needed = ("database_url", "redis_url", "public_url", "frontend_url")
    faults = [f"{name.upper()}: is required in production" for name in needed if not values.get(name)]
    limits = [name for name in values if name.startswith("limit_")]
    faults += [f"{name.upper()}: cannot be off in production" for name in limits if values[name] == "off"]
    if str(values.get("password_cost", 12)) in map(str, range(12)):
        faults.append("PASSWORD_COST: must be at least 12 in production")
    return faults


class Settings(BaseSettings):
    """The text below a setting is its meaning in the table of README.md (`make settings`)."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE,
        extra="ignore",
        env_ignore_empty=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    app_env: Literal["development", "production", "test"] = "development"
    """`development`, `production` or `test`."""
    host: Annotated[str, AfterValidator(check_host)] = "127.0.0.1"
    """IP address or host name to listen on; IPv6 as `::1` or `[::1]`."""
    port: int = Field(3000, ge=0, le=65535)
    """Port to listen on; 0 chooses a free one."""
    public_url: Annotated[str, AfterValidator(lambda url: url and check_public_url(url))] = ""
    """Address that clients use; may have a path, which the proxy removes. Without it: HOST and PORT."""
    frontend_url: Origins = ["http://localhost:5173"]
    """Comma list of origins (no paths, no `*`) that may call with credentials and open sockets."""
    docs_enabled: bool | None = None
    """Whether the pages under `/docs` and the API descriptions are shown. Without it: outside production."""
    data_dir: Path = Path(".data")
    """Folder of pictures (unless Cloudinary stores them), mails of the console, packaged servers, generated secrets."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """`DEBUG`, `INFO`, `WARNING` or `ERROR`."""
    log_format: Literal["console", "json"] | None = None
    """`console` or `json`. Without it: `json` in production, else `console`."""
    trusted_proxies: Networks = []
    """Comma list of addresses or networks whose `X-Forwarded-For` the server uses as the client's address."""

    database_url: DatabaseUrl | None = None
    """`postgresql://user:password@host/name`. Without it, development starts a packaged PostgreSQL under DATA_DIR."""
    database_pool_size: int = Field(10, ge=2, le=200)
    """Connections to PostgreSQL per instance, 2 to 200."""
    redis_url: RedisUrl | None = None
    """`redis://…` or `rediss://…` (TLS). Without it, development starts a packaged Redis under DATA_DIR."""
    redis_sharded: bool = False
    """`true`: REDIS_URL is a node of a Redis cluster (7.0 or newer); sharded pub/sub."""
    # Contract: no send is delayed by 0.5 s.
    redis_timeout: Duration = timedelta(milliseconds=250)
    """Longest time that a request waits for Redis; then it continues without Redis."""

    jwt_access_secret: Secret
    """Signs access tokens, 32 bytes or more. Development generates it."""
    jwt_refresh_secret: Secret
    """Signs refresh tokens, 32 bytes or more. Development generates it."""
    encryption_key: EncryptionKey
    """Encrypts vendor tokens and queued mails: 32 bytes as base64 or hexadecimal. Development generates it."""
    encryption_keys_old: EncryptionKeys = []
    """Comma list of earlier ENCRYPTION_KEYs, while values are being rotated."""
    access_token_expires_in: Duration = timedelta(minutes=15)
    """Life of an access token."""
    refresh_token_expires_in: Duration = timedelta(days=7)
    """Life of a refresh token."""
    session_max_age: Duration = timedelta(days=90)
    """Life of a session since its sign-in, however often it is renewed."""
    password_cost: int = Field(12, ge=4, le=16)
    """Cost of bcrypt: 2^cost rounds, 12 is about 0.3 s of one core. At least 12 in production."""

    admin_email: str | None = None
    """E-mail of the first admin, who is created at start if there is no admin."""
    admin_password: SecretStr | None = None
    """Password of the first admin."""

    email_sender: Literal["resend", "smtp", "console"] | None = None
    """`resend`, `smtp` or `console` (files). Without it: the one that is configured below; production needs one."""
    email_from: str = "Beautiful Encer <no-reply@localhost>"
    """Sender of all mails."""
    email_host: Annotated[str, AfterValidator(check_host)] | None = None
    """Host of the SMTP server."""
    email_port: int = Field(587, ge=1, le=65535)
    """Port of the SMTP server."""
    email_user: str | None = None
    """User of the SMTP server."""
    email_pass: SecretStr | None = None
    """Password of the SMTP server."""
    resend_api_key: SecretStr | None = None
    """API key of Resend."""
    resend_api_url: VendorUrl = "https://api.resend.com"
    """Address of Resend; tests change it."""

    apify_api_token: SecretStr | None = None
    """Token of Apify. Without it, routes that scrape answer 503 `NOT_CONFIGURED`."""
    apify_api_url: VendorUrl = "https://api.apify.com"
    """Address of Apify; tests change it."""
    apify_actor_id: str = "apify/instagram-profile-scraper"
    """Actor that fetches Instagram profiles."""
    apify_tiktok_actor_id: str = "clockworks/tiktok-scraper"
    """Actor that fetches TikTok profiles."""
    scrape_timeout: Duration = timedelta(seconds=100)
    """Longest time that a request waits for a scrape."""

    tiktok_client_key: str | None = None
    """Key of the TikTok app. Without it, the TikTok sign-in answers 503 `NOT_CONFIGURED`."""
    tiktok_client_secret: SecretStr | None = None
    """Secret of the TikTok app."""
    tiktok_redirect_uri: Url | None = None
    """Redirect URI, exactly as it is registered at TikTok."""
    tiktok_auth_url: VendorUrl = "https://www.tiktok.com/v2/auth/authorize"
    """Address of TikTok's sign-in page; tests change it."""
    tiktok_api_url: VendorUrl = "https://open.tiktokapis.com"
    """Address of TikTok's API; tests change it."""

    cloudinary_cloud_name: str | None = None
    """Cloud that stores new pictures. Without it, DATA_DIR stores them."""
    cloudinary_api_key: str | None = None
    """API key of Cloudinary."""
    cloudinary_api_secret: SecretStr | None = None
    """API secret of Cloudinary."""
    cloudinary_upload_prefix: VendorUrl = "https://api.cloudinary.com"
    """Address of Cloudinary; tests change it."""

    image_proxy_hosts: ImageHosts = IMAGE_HOSTS.split(",")
    """Comma list of domains, with their subdomains, from which the image proxy fetches."""

    jobs_enabled: bool = True
    """Whether this instance runs scheduled jobs."""
    jobs_timezone: Annotated[str, AfterValidator(check_timezone)] = "UTC"
    """Time zone of the schedules, the same on all instances."""

    # Each socket may hold 1 MiB of unread frames.
    sockets_per_user: int = Field(30, ge=1, le=1000)
    """Sockets per user over all instances; one more is closed with 4429."""

    limit_general: RateLimit = Limit(1000, 900)
    """Requests per user, or per network (IPv4 address or IPv6 /64) without sign-in."""
    limit_auth: RateLimit = Limit(5, 900)
    """Failed sign-ins per e-mail and network together."""
    limit_auth_ip: RateLimit = Limit(50, 900)
    """Failed sign-ins per network."""
    limit_auth_account: RateLimit = Limit(100, 3600)
    """Failed sign-ins per e-mail. Networks where this account has signed in before are counted separately."""
    limit_sign_up: RateLimit = Limit(20, 3600)
    """Sign-ups per network."""
    limit_otp_mail: RateLimit = Limit(5, 3600)
    """Mails with codes per e-mail and network together."""
    limit_otp_mail_email: RateLimit = Limit(20, 3600)
    """Mails with codes per e-mail."""
    limit_sync: RateLimit = Limit(3, 3600)
    """Manual synchronisations per user."""
    limit_connect: RateLimit = Limit(10, 3600)
    """Connected social accounts per user."""
    limit_upload: RateLimit = Limit(20, 3600)
    """Uploads per user."""
    limit_message: RateLimit = Limit(60, 60, 30)
    """Messages per user."""
    limit_connection_request: RateLimit = Limit(50, 86400)
    """Connection requests per user."""
    limit_socket_frames: RateLimit = Limit(20, 1, 60)
    """Frames per socket that the client sends."""

    @model_validator(mode="wrap")
    @classmethod
    def report_every_fault(cls, values: dict[str, Any], validate: ModelWrapValidatorHandler["Settings"]) -> "Settings":
        """Raise one error that names all invalid or missing settings, not only the first one."""
        checks: tuple[Check, ...] = (production_faults, *values.pop("checks", ()))
        faults = [fault for check in checks for fault in check(values)]
        try:
            settings = validate(values)
        except ValidationError as error:
            raise SettingsError("\n".join(describe_faults(error) + faults)) from None
        if settings.redis_sharded and settings.redis_url is None:
            faults.append("REDIS_SHARDED: needs REDIS_URL to name a node of a Redis cluster")
        if faults:
            raise SettingsError("\n".join(faults))
        settings.public_url = settings.public_url or url_of(settings.host, settings.port)
        return settings

    @property
    def production(self) -> bool:
        return self.app_env == "production"

    @property
    def shows_docs(self) -> bool:
        return not self.production if self.docs_enabled is None else self.docs_enabled

    @cached_property
    def public_path(self) -> str:
        """Return the path of PUBLIC_URL, which a proxy removes; "" without one."""
        return urlsplit(self.public_url).path

    @cached_property
    def own_origins(self) -> frozenset[str]:
        """Return the origins of the server's own pages, which may open sockets; none if the pages are switched off."""
        if not self.shows_docs:
            return frozenset()
        own = self.public_url.removesuffix(self.public_path)
        host, port = urlsplit(own).hostname, urlsplit(own).port
        if self.production or host not in LOOPBACK or port is None:
            return frozenset({own})
        return frozenset(url_of(name, port) for name in LOOPBACK)  # people use all these names

    @cached_property
    def origins(self) -> frozenset[str]:
        """Return the web origins that may call with credentials and open sockets."""
        return frozenset(self.frontend_url)


def url_of(host: str, port: int) -> str:
    """Return the URL; IPv6 is in brackets, its zone after an escaped percent sign (RFC 6874)."""
    return f"http://[{host.replace('%', '%25')}]:{port}" if ":" in host else f"http://{host}:{port}"


def load_settings(*checks: Check, **overrides: Any) -> Settings:
    """Read the settings. Outside production, generate missing secrets once and store them in DATA_DIR.

    `checks` find faults that only upper layers can check. Raises SettingsError, which names every fault."""
    try:
        if overrides.get("_env_file", ENV_FILE):
            checks = (env_file_faults, *checks)
        return Settings(**{**generated_secrets(overrides), **overrides, "checks": checks})
    except UnicodeDecodeError:
        raise SettingsError(".env: must be a text file in UTF-8") from None
    except OSError as error:  # .env, or DATA_DIR with the secrets
        raise SettingsError(f"DATA_DIR and .env: must be accessible ({type(error).__name__})") from None


def env_file_faults(_: Mapping[str, Any]) -> list[str]:
    """Return the lines of `.env` that python-dotenv would leave out with a warning, by their numbers."""
    if ENV_FILE.is_dir():
        return [".env: is a folder; it must be a text file"]
    if not ENV_FILE.is_file():
        return []
    with ENV_FILE.open(encoding="utf-8") as stream:
        wrong = [binding.original for binding in parse_stream(stream) if binding.error]
    # The text of a binding begins with the empty lines before it.
    lines = [text.line + text.string[: -len(text.string.lstrip())].count("\n") for text in wrong]
    return [f".env: line {line} cannot be read; write NAME=value, and close every quote" for line in lines]


class Environment(BaseSettings):
    """The settings that are needed before the secrets: where these are stored, and whether they may be generated."""

    model_config = SettingsConfigDict(env_file=ENV_FILE, extra="ignore", env_ignore_empty=True)
    app_env: str = "development"
    data_dir: Path = Path(".data")
    jwt_access_secret: str | None = None
    jwt_refresh_secret: str | None = None
    encryption_key: str | None = None


def generated_secrets(overrides: dict[str, Any]) -> dict[str, str]:
    """Return the secrets of a development machine, generated on first use and readable by their owner only."""
    environment = Environment(**{name: overrides[name] for name in Environment.model_fields if name in overrides})
    missing = [name for name in GENERATED_SECRETS if getattr(environment, name) is None]
    if environment.app_env == "production" or not missing:
        return {}
    environment.data_dir.mkdir(parents=True, exist_ok=True)
    path = environment.data_dir / "secrets.json"
    made = {name: base64.b64encode(secrets.token_bytes(32)).decode() for name in GENERATED_SECRETS}
    try:
        # Two instances may start at once in one folder; exactly one of them creates the hard link.
        draft = environment.data_dir / f".secrets-{os.getpid()}-{secrets.token_hex(4)}"
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(made))
        try:
            os.link(draft, path)
        finally:
            draft.unlink()
    except FileExistsError:
        made = json.loads(path.read_text())
    return {name: made[name] for name in missing}
