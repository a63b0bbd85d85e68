"""`.venv/bin/python -m db.seed` fills a development database with accounts to sign in with.

With `--scale N` it adds N thousand more. It uses the database of DATABASE_URL, or the packaged one; the server may run
meanwhile. A second run adds no account twice. It does not run in production, because all these accounts have the same
known password.
"""

import argparse
import asyncio
import sys

import asyncpg

from db.address import Address
from db.connect import CONNECT_SECONDS, Connector
from db.migrate import migrate
from db.packaged.servers import database_of
from db.pool import set_codecs
from db.seed.people import PASSWORD, Demonstration, influencer_email, salon_email
from db.seed.scale import add_people
from db.seed.texts import CREATORS, SHOPS
from services.commands import program
from services.logs import print_failure, write_out
from services.security.passwords import Passwords
from settings import Settings, load_settings

MAX_THOUSANDS = 1_000  # a million accounts take half an hour and several gigabytes
SHOWN = 3  # printed accounts per role; the others follow the same pattern


@program
def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    settings = load_settings()
    if settings.production:
        print_failure(
            "Nothing was done: the seed adds accounts with a known password, so it does not run in production."
        )
        return 1
    try:
        fill(settings, options.scale)
    except KeyboardInterrupt:
        print_failure("\nStopped: the open transaction was rolled back.")
        return 130
    print_accounts()
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m db.seed", description=__doc__)
    parser.add_argument("--scale", type=thousands, default=0, metavar="N", help="add N thousand accounts to search in")
    return parser.parse_args(arguments)


def thousands(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= MAX_THOUSANDS:
        raise argparse.ArgumentTypeError(f"must be a whole number up to {MAX_THOUSANDS:,}")
    return int(text)


def tell(step: str) -> None:
    write_out(f"  {step}")


def fill(settings: Settings, scale: int) -> None:
    with database_of(settings) as url:
        migrate(url)
        asyncio.run(add_everybody(url, settings, scale))


async def add_everybody(url: str, settings: Settings, scale: int) -> None:
    passwords = Passwords(settings.password_cost)
    password_hash = await passwords.hash(PASSWORD)
    passwords.close()
    conn = await Connector(Address.parse(url))()
    try:
        await set_codecs(conn)
        await add_demonstration(conn, password_hash)
        if scale:
            await add_people(conn, scale * 1000, password_hash, tell)
    finally:
        await conn.close(timeout=CONNECT_SECONDS)


async def add_demonstration(conn: asyncpg.Connection, password_hash: str) -> None:
    """Add the demonstration in one transaction."""
    async with conn.transaction():
        demonstration = Demonstration(conn, password_hash)
        tell(f"{await demonstration.add_influencers()} influencers added, with accounts and posts")
        tell(f"{await demonstration.add_salons()} salons added")
        requests, messages = await demonstration.add_connections()
        tell(f"{requests} connections and requests added, with {messages} messages and notifications")


def print_accounts() -> None:
    write_out(f"\n  Sign in with the password {PASSWORD} as")
    for n in range(SHOWN):
        write_out(f"    {influencer_email(n):32}{CREATORS[n].name}")
    write_out(f"    … influencer{len(CREATORS)}@")
    for n in range(SHOWN):
        write_out(f"    {salon_email(n):32}{SHOPS[n].business_name}")
    write_out(f"    … salon{len(SHOPS)}@")
    write_out("  To create an admin: .venv/bin/python -m db.create_admin\n")


if __name__ == "__main__":
    sys.exit(main())
