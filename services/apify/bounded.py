"""Read responses within a bound; what is known of the vendor without its SDK."""

from collections.abc import AsyncIterator
from typing import Protocol

VENDOR = "apify"


class UnreadResponse(Protocol):
    """A response of the SDK's transport whose body was not read yet."""

    def aiter_bytes(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


class AnswerTooLarge(ValueError):
    pass


async def read_bounded(response: UnreadResponse, max_bytes: int) -> bytes:
    body = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > max_bytes:
                raise AnswerTooLarge(f"an answer of more than {max_bytes} bytes")
    finally:
        await response.aclose()
    return bytes(body)
