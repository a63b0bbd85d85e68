"""Every error that nginx answers itself has the form of all errors."""

from collections.abc import Iterator

import pytest

from db.error_codes import ERROR_CODES
from db.packaged.servers import free_port
from tests.helpers.programs import needs_program
from tests.helpers.raw_http import exchange, request
from tests.helpers.servers.nginx import running_nginx

pytestmark = needs_program("nginx", package="nginx")

ORIGIN = "Origin: http://localhost:5173"  # the origin that deploy/cluster.py writes instead of the web client's
LOGIN = "POST /api/v1/auth/login"
ERRORS: dict[str, tuple[bytes, int, str]] = {
    "a malformed request line": (b"HELLO\r\n\r\n", 400, "BAD_REQUEST"),
    "TLS": (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n\r\n", 400, "BAD_REQUEST"),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "BAD_REQUEST"),
    "a path of its own": (request("GET /metrics"), 404, "NOT_FOUND"),
    "the path of errors": (request("GET /nginx-error"), 404, "NOT_FOUND"),
    "TRACE": (request("TRACE /health"), 405, "METHOD_NOT_ALLOWED"),
    "a large body": (request(LOGIN, f"Content-Length: {2**30}"), 413, "BODY_TOO_LARGE"),
    "a long path": (request("GET /" + "x" * 20_000), 414, "URI_TOO_LONG"),
    "large headers": (request("GET /", *[f"A: {'x' * 15_000}"] * 6), 431, "HEADERS_TOO_LARGE"),
    "a transfer encoding": (request(LOGIN, "Transfer-Encoding: gzip"), 501, "NOT_IMPLEMENTED"),
    "no instance": (request("GET /health", ORIGIN), 503, "NOT_READY"),
    "no instance for HEAD": (request("HEAD /health"), 503, ""),
    "another version": (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505, "VERSION_NOT_SUPPORTED"),
}


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Start nginx before instances that do not run."""
    with running_nginx(tmp_path_factory.mktemp("nginx"), [free_port(), free_port()]) as port:
        yield port


@pytest.mark.parametrize("name", ERRORS)
async def test_an_error_of_nginx(nginx: int, name: str):
    sent, status, code = ERRORS[name]
    answer = await exchange(nginx, sent)
    answer.check_form()
    assert answer.status == status
    if code:
        assert answer.json["code"] == code in ERROR_CODES
        assert answer.json["requestId"] == answer.headers["x-request-id"]
    assert ("retry-after" in answer.headers) == (status == 503)
    assert ("allow" in answer.headers) == (status == 405)


async def test_the_web_client_can_read_errors_of_nginx(nginx: int):
    answer = await exchange(nginx, request("GET /health", ORIGIN))
    assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert answer.headers["access-control-allow-credentials"] == "true"
    foreign = await exchange(nginx, request("GET /health", "Origin: https://evil.example"))
    assert not {"access-control-allow-origin", "access-control-allow-credentials"} & foreign.headers.keys()
