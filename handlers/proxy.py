"""Proxy for pictures of Instagram and TikTok, which browsers may not load directly."""

import asyncio

from pydantic import Field

from handlers.http.base import Handler
from handlers.http.endpoint import PUBLIC, Query, endpoint
from services.files.image_proxy import MAX_URL_CHARS, RemoteImage

CACHE_SECONDS = 86_400
# A browser that opens the picture as a page must not run any content of the host.
POLICY = "default-src 'none'; sandbox"


class ImageQuery(Query):
    url: str = Field(
        min_length=1,
        max_length=MAX_URL_CHARS,
        description="Address of a picture of Instagram or TikTok, https only",
        examples=["https://scontent.cdninstagram.com/v/t51/1.jpg"],
    )


class ProxiedImage(Handler):
    relaying: asyncio.Task[None] | None = None

    @endpoint(
        PUBLIC,
        query=ImageQuery,
        produces="image/*",
        errors=("URL_REFUSED", "UPSTREAM_FAILED", "UPSTREAM_TIMEOUT", "NOT_READY"),
    )
    async def get(self, query: ImageQuery) -> None:
        """Relay a picture of a social network."""
        # A separate task, cancelled when the client disconnects; services/files/image_proxy.py bounds its time.
        self.relaying = asyncio.create_task(self.relay(query.url))
        await asyncio.wait({self.relaying})
        if not self.relaying.cancelled():
            self.relaying.result()

    async def relay(self, url: str) -> None:
        async with self.services.image_proxy.open(url, self.network) as image:
            self.announce(image)
            if self.request.method == "HEAD":
                await self.flush()
                return
            async for chunk in image.chunks:
                self.write(chunk)
                await self.flush()  # waits for the client, so that at most one chunk is in memory

    def announce(self, image: RemoteImage) -> None:
        self.set_header("Content-Type", image.content_type)
        self.set_header("Cache-Control", f"public, max-age={CACHE_SECONDS}")
        self.set_header("Cross-Origin-Resource-Policy", "cross-origin")
        self.set_header("Content-Security-Policy", POLICY)
        if image.length is not None:
            self.set_header("Content-Length", image.length)

    def on_connection_close(self) -> None:
        if self.relaying:
            self.relaying.cancel()


routes = [("/proxy/image", ProxiedImage)]
