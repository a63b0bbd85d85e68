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
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from db.address import Address, check_redis_address

UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
SECRET_MIN_BYTES = 32
HTTP_URL = TypeAdapter(AnyHttpUrl)
HOST_NAME = re.compile(r"[\w-]+(\.[\w-]+)*\.?", re.ASCII)
IMAGE_HOST = re.compile(r"([a-z0-9_]([a-z0-9_-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]", re.ASCII)
VERSION = "0.1.0"  # shown by /health and the API descriptions

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


def split_list(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def read_url(text: str) -> AnyHttpUrl:
    """Read an http or https URL. Raises ValueError, whose text contains nothing of the value."""
    try:
        url = HTTP_URL.validate_python(text)
    except ValidationError:
        url = None
    if url is None or not re.fullmatch(r"https?://[^\s\\]+", text, re.IGNORECASE):  # pydantic accepts partial ones
        raise ValueError("must be a complete address, for example https://example.com")
    if url.username or url.password:
        raise ValueError("must not contain a user or a password")
    if "*" in (url.host or ""):
        raise ValueError("must not contain *: name each address")
    return url


def check_origin(text: str) -> str:
    """Return scheme, host and port as browsers write them in `Origin`."""
    if text == "*":
        raise ValueError("must not be *: name each origin, for example https://app.example.com")
    origin = str(read_url(text)).removesuffix("/")
    if origin.count("/") != 2 or "?" in origin or "#" in origin:
        raise ValueError("must be a scheme, a host and perhaps a port, without a path")
    return origin


def check_public_url(text: str) -> str:
    """Return the origin and the path under which a proxy serves this server, without a slash at the end."""
    url = read_url(text)
    if url.query is not None or url.fragment is not None:
        raise ValueError("must not contain a query or a fragment")
    path = (url.path or "").rstrip("/")
    return check_origin(str(url).removesuffix(url.path or "")) + path


def check_address(text: str) -> str:
    """Check an address and keep it as written, because TikTok compares its redirect URI with the registered one."""
    if "?" in text or "#" in text:
        raise ValueError("must not contain a query or a fragment")
    read_url(text)
    return text


def check_image_host(text: str) -> str:
    host = text.lower().removeprefix(".")
    if not IMAGE_HOST.fullmatch(host):
        raise ValueError("must be a domain, for example cdninstagram.com, without *, scheme, port or path")
    return host


def check_host(text: str) -> str:
    """Check an IP address or a name to listen on; IPv6 may be in brackets."""
    host = text.removeprefix("[").removesuffix("]")
    try:
        ip_address(host)
    except ValueError:
        if not HOST_NAME.fullmatch(host):
            raise ValueError("must be an IP address or a host name, without a port") from None
    return host


def check_network(text: str) -> str:
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise ValueError("must be an IP address or a network, for example 10.0.0.0/8") from None
    return text


def check_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("must be the name of a time zone, for example Asia/Tokyo") from None
    return name


def decode_encryption_key(text: str) -> bytes:
    """Decode 32 bytes, written as base64 or as 64 hexadecimal digits."""
    try:
        key = bytes.fromhex(text) if len(text) == 64 else base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ValueError("must be 32 bytes, as base64 or 64 hexadecimal digits")
    return key


def check_secret(text: str) -> None:
    if len(text.encode()) < SECRET_MIN_BYTES:
        raise ValueError(f"must be at least {SECRET_MIN_BYTES} bytes")


def within(check: Callable[[str], object]) -> AfterValidator:
    """Apply `check`, which raises ValueError, to the value of a secret."""

    def look(secret: SecretStr) -> SecretStr:
        check(secret.get_secret_value())
        return secret

    return AfterValidator(look)


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
RateLimit = Annotated[Limit | None, BeforeValidator(parse_limit)]
CommaList = Annotated[list[str], NoDecode, BeforeValidator(split_list)]
Networks = Annotated[list[Annotated[str, AfterValidator(check_network)]], NoDecode, BeforeValidator(split_list)]
Origin = Annotated[str, AfterValidator(check_origin)]
Origins = Annotated[list[Origin], NoDecode, BeforeValidator(split_list), Field(min_length=1)]
ImageHosts = Annotated[list[Annotated[str, AfterValidator(check_image_host)]], NoDecode, BeforeValidator(split_list)]
Secret = Annotated[SecretStr, within(check_secret)]
EncryptionKey = Annotated[SecretStr, within(decode_encryption_key)]
DatabaseUrl = Annotated[SecretStr, within(Address.parse)]
RedisUrl = Annotated[SecretStr, within(check_redis_address)]
EncryptionKeys = Annotated[list[EncryptionKey], NoDecode, BeforeValidator(split_list)]
Url = Annotated[str, AfterValidator(check_address)]
VendorUrl = Annotated[Url, AfterValidator(lambda url: url.rstrip("/"))]
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
    model_config = SettingsConfigDict(env_file=".env", extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    port: int = Field(3000, ge=0, le=65535)
    host: Annotated[str, AfterValidator(check_host)] = "127.0.0.1"
    app_env: Literal["development", "production", "test"] = "development"
    public_url: Annotated[str, AfterValidator(lambda url: url and check_public_url(url))] = ""  # HOST and PORT
    frontend_url: Origins = ["http://localhost:5173"]
    docs_enabled: bool | None = None  # if it is not set: outside production
    data_dir: Path = Path(".data")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] | None = None  # json in production, else console
    trusted_proxies: Networks = []

    database_url: DatabaseUrl | None = None
    database_pool_size: int = Field(10, ge=2, le=200)
    redis_url: RedisUrl | None = None
    redis_sharded: bool = False
    # A request waits at most this long for Redis, then continues without it. Contract: no send is delayed by 0.5 s.
    redis_timeout: Duration = timedelta(milliseconds=250)

    jwt_access_secret: Secret
    jwt_refresh_secret: Secret
    access_token_expires_in: Duration = timedelta(minutes=15)
    refresh_token_expires_in: Duration = timedelta(days=7)
    session_max_age: Duration = timedelta(days=90)  # since sign-in, however often the session is renewed
    encryption_key: EncryptionKey
    encryption_keys_old: EncryptionKeys = []
    # 2^cost rounds; 12 is about 0.3 s of one core. Tests lower it, production must not.
    password_cost: int = Field(12, ge=4, le=16)

    admin_email: str | None = None
    admin_password: SecretStr | None = None

    email_sender: Literal["resend", "smtp", "console"] | None = None  # if it is not set, what the other settings allow
    email_from: str = "Beautiful Encer <no-reply@localhost>"
    email_host: Annotated[str, AfterValidator(check_host)] | None = None
    email_port: int = Field(587, ge=1, le=65535)
    email_user: str | None = None
    email_pass: SecretStr | None = None
    resend_api_key: SecretStr | None = None
    resend_api_url: VendorUrl = "https://api.resend.com"

    cloudinary_cloud_name: str | None = None
    cloudinary_api_key: str | None = None
    cloudinary_api_secret: SecretStr | None = None
    cloudinary_upload_prefix: VendorUrl = "https://api.cloudinary.com"

    apify_api_token: SecretStr | None = None
    apify_api_url: VendorUrl = "https://api.apify.com"
    apify_actor_id: str = "apify/instagram-profile-scraper"
    apify_tiktok_actor_id: str = "clockworks/tiktok-scraper"
    scrape_timeout: Duration = timedelta(seconds=100)

    tiktok_client_key: str | None = None
    tiktok_client_secret: SecretStr | None = None
    tiktok_redirect_uri: Url | None = None
    tiktok_auth_url: VendorUrl = "https://www.tiktok.com/v2/auth/authorize"
    tiktok_api_url: VendorUrl = "https://open.tiktokapis.com"

    image_proxy_hosts: ImageHosts = IMAGE_HOSTS.split(",")

    jobs_timezone: Annotated[str, AfterValidator(check_timezone)] = "UTC"
    jobs_enabled: bool = True

    # Over all instances. A browser opens one or two per tab; each may hold 1 MiB of unread frames.
    sockets_per_user: int = Field(30, ge=1, le=1000)

    limit_general: RateLimit = Limit(1000, 900)
    limit_auth: RateLimit = Limit(5, 900)
    limit_auth_ip: RateLimit = Limit(50, 900)
    limit_auth_account: RateLimit = Limit(100, 3600)
    limit_sign_up: RateLimit = Limit(20, 3600)
    limit_otp_mail: RateLimit = Limit(5, 3600)
    limit_otp_mail_email: RateLimit = Limit(20, 3600)
    limit_sync: RateLimit = Limit(3, 3600)
    limit_connect: RateLimit = Limit(10, 3600)
    limit_upload: RateLimit = Limit(20, 3600)
    limit_message: RateLimit = Limit(60, 60, 30)
    limit_connection_request: RateLimit = Limit(50, 86400)
    limit_socket_frames: RateLimit = Limit(20, 1, 60)

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
        return Settings(**{**generated_secrets(overrides), **overrides, "checks": checks})
    except UnicodeDecodeError:
        raise SettingsError(".env: must be a text file in UTF-8") from None
    except OSError as error:  # .env, or DATA_DIR with the secrets
        raise SettingsError(f"DATA_DIR and .env: must be accessible ({type(error).__name__})") from None


class Environment(BaseSettings):
    """The settings that are needed before the secrets: where these are stored, and whether they may be generated."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", env_ignore_empty=True)
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
