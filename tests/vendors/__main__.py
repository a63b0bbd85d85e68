"""Run the vendors' stand-ins as a program: `.venv/bin/python -m tests.vendors [first port, 4010]`.

Prints the settings with which the server talks to them, then serves until it is stopped.
"""

import asyncio
import signal
import sys

from tests.vendors import apify, cloudinary, resend, tiktok
from tests.vendors.stand_in import StandIn

FIRST_PORT = 4010
RUN_SECONDS = 2.0  # long enough to watch a scrape


async def serve(first_port: int) -> None:
    vendors = (apify.Apify(RUN_SECONDS), tiktok.TikTok(), cloudinary.Cloudinary(), resend.Resend())
    stand_ins: tuple[StandIn | resend.Resend, ...] = vendors
    for offset, vendor in enumerate(stand_ins):
        vendor.listen(first_port and first_port + offset)  # 0: any free ports
    print("\n".join(settings(*vendors)), flush=True)
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await stop.wait()
    for vendor in stand_ins:
        await vendor.close()


def settings(
    apify_: apify.Apify, tiktok_: tiktok.TikTok, cloudinary_: cloudinary.Cloudinary, resend_: resend.Resend
) -> list[str]:
    """Return lines for `.env`. Mails go to the console unless RESEND_API_KEY is copied too."""
    return [
        f"APIFY_API_URL={apify_.url}",
        f"APIFY_API_TOKEN={apify.TOKEN}",
        f"TIKTOK_AUTH_URL={tiktok_.auth_url}",
        f"TIKTOK_API_URL={tiktok_.url}",
        f"TIKTOK_CLIENT_KEY={tiktok.CLIENT_KEY}",
        f"TIKTOK_CLIENT_SECRET={tiktok.CLIENT_SECRET}",
        f"CLOUDINARY_UPLOAD_PREFIX={cloudinary_.url}",
        f"CLOUDINARY_CLOUD_NAME={cloudinary.CLOUD_NAME}",
        f"CLOUDINARY_API_KEY={cloudinary.API_KEY}",
        f"CLOUDINARY_API_SECRET={cloudinary.API_SECRET}",
        f"RESEND_API_URL={resend_.url}",
        f"# RESEND_API_KEY={resend.API_KEY}",
    ]


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else FIRST_PORT))
