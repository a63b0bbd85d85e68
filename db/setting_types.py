"""Types of settings, with their checks. A failed check raises ValueError, whose text contains nothing of the value."""

import base64
import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AnyHttpUrl, BeforeValidator, Field, SecretStr, TypeAdapter, ValidationError
from pydantic_settings import NoDecode

from db.address import Address, check_redis_address

SECRET_MIN_BYTES = 32
HTTP_URL = TypeAdapter(AnyHttpUrl)
HOST_NAME = re.compile(r"[\w-]+(\.[\w-]+)*\.?", re.ASCII)
IMAGE_HOST = re.compile(r"([a-z0-9_]([a-z0-9_-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]", re.ASCII)


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
