"""Requests that no HTTP library would send, as bytes, and their answers."""

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any

ANSWER_SECONDS = 20.0  # long enough for a busy machine; only a missing answer is a failure
STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n")


@dataclass(frozen=True)
class RawAnswer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def check_form(self) -> None:
        """Check the headers of every answer, and the form of every error."""
        assert "x-request-id" in self.headers or self.status == 101, self
        if self.status >= 400 and self.body:
            assert self.headers["content-type"].startswith("application/json"), self
            assert {"error", "message", "code", "requestId"} <= self.json.keys(), self


async def exchange(port: int, sent: bytes, *, end: bool = False) -> RawAnswer:
    """Send bytes on a new connection (and half-close it if `end`), and return one answer. Fails if there is none."""
    async with asyncio.timeout(ANSWER_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(sent)
            if end:
                writer.write_eof()
            return await read_answer(reader, sent.startswith(b"HEAD "))
        finally:
            writer.close()


async def read_answer(reader: asyncio.StreamReader, to_head: bool = False) -> RawAnswer:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        status_line = STATUS_LINE.match(head)
        assert status_line, head
        status = int(status_line[1])
        lines = head.decode("latin-1").split("\r\n")[1:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if to_head or status in (101, 204, 304):
            body = b""
        elif "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        else:
            body = await reader.read()
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise AssertionError(f"the connection was closed without a whole answer: {error!r}") from None
    return RawAnswer(status, headers, body)


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    """Return a request with these lines; Host is added."""
    return "\r\n".join([f"{line} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode("latin-1") + body
