"""The opening handshake of RFC 6455: what a client sends, and the response 101."""

from tornado.httputil import HTTPHeaders
from tornado.websocket import WebSocketProtocol13

from db.error_codes import ErrorCode
from db.errors import DomainError

PROTOCOL = "encer.v1"
TOKEN_PROTOCOL = "bearer."  # noqa: S105  a prefix


class UpgradeRequired(DomainError):
    status = 426
    code: ErrorCode = "UPGRADE_REQUIRED"
    error = "Please connect with a WebSocket, version 13, by a GET without a body"

    def __init__(self) -> None:
        super().__init__(headers={"Upgrade": "websocket", "Sec-WebSocket-Version": "13"})


def asks_for_a_websocket(headers: HTTPHeaders) -> bool:
    return (
        headers.get("Upgrade", "").lower() == "websocket"
        and "upgrade" in [part.strip() for part in headers.get("Connection", "").lower().split(",")]
        and headers.get("Sec-WebSocket-Version") == "13"
        and bool(headers.get("Sec-WebSocket-Key"))
        and bool(headers.get("Host"))
    )


def offered_protocols(headers: HTTPHeaders) -> list[str]:
    offered = headers.get("Sec-WebSocket-Protocol")
    return [part.strip() for part in offered.split(",")] if offered else []


def offered_token(headers: HTTPHeaders, offered: list[str]) -> str | None:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return next((part.removeprefix(TOKEN_PROTOCOL) for part in offered if part.startswith(TOKEN_PROTOCOL)), None)


def switching_protocols(key: str, offered: list[str], request_id: str) -> bytes:
    """Return the whole response 101."""
    chosen = f"Sec-WebSocket-Protocol: {PROTOCOL}\r\n" if PROTOCOL in offered else ""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {WebSocketProtocol13.compute_accept_value(key)}\r\n"
        f"{chosen}X-Request-ID: {request_id}\r\n\r\n"
    ).encode()
