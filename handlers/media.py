"""Files on the server's own disk. A name always means the same file, so clients may cache it without limit."""

import asyncio
import os
from pathlib import PurePosixPath
from typing import BinaryIO

from db.errors import NotFound
from handlers.http.base import Handler
from handlers.http.endpoint import PUBLIC, endpoint
from services.files.media import MEDIA_TYPES, MediaStore

CHUNK_BYTES = 128 * 1024
SEND_SECONDS = 300.0  # enough for the largest file on a slow connection; a slower download is aborted


class Media(Handler):
    @endpoint(PUBLIC, produces="*/*", statuses=(200, 304))
    async def get(self, folder: str, name: str) -> None:
        """Download an uploaded picture or PDF."""
        file = await asyncio.to_thread(open_file, self.services.media, f"{folder}/{name}")
        if file is None:
            raise NotFound("File")
        try:
            self.describe(folder, PurePosixPath(name), os.fstat(file.fileno()).st_size)
            if self.check_etag_header():
                self.clear_header("Content-Length")
                self.set_status(304)
            elif self.request.method != "HEAD":
                async with asyncio.timeout(SEND_SECONDS):
                    await self.send_file(file)
        finally:
            file.close()
        self.finish()

    def describe(self, folder: str, name: PurePosixPath, size: int) -> None:
        self.set_header("Content-Type", MEDIA_TYPES[name.suffix[1:]])
        self.set_header("Content-Length", size)
        shared = "private" if folder == "chat" else "public"  # shared caches must not store files of messages
        self.set_header("Cache-Control", f"{shared}, max-age=31536000, immutable")
        self.set_header("Etag", f'"{name.stem}"')
        self.set_header("Cross-Origin-Resource-Policy", "cross-origin")
        self.set_header("Content-Security-Policy", "default-src 'none'; sandbox")
        if name.suffix == ".pdf":
            self.set_header("Content-Disposition", "attachment")

    async def send_file(self, file: BinaryIO) -> None:
        """Send one chunk at a time, so that a slow reader holds no more memory than that."""
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            self.write(chunk)
            await self.flush()


def open_file(media: MediaStore, name: str) -> BinaryIO | None:
    path = media.path_of(name)
    try:
        return path.open("rb") if path else None
    except FileNotFoundError:  # deleted just before
        return None


routes = [("/media/{folder:str}/{name:str}", Media)]
