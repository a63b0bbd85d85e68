"""`.venv/bin/python -m db.create_admin` makes an admin.

E-mail and password come from the options, else from ADMIN_EMAIL and ADMIN_PASSWORD, else they are asked for. Options
can be read by other users of the machine while it runs: for passwords the other two ways are better.
"""

import argparse
import asyncio
import getpass
import sys
from typing import Annotated, NamedTuple

from pydantic import TypeAdapter, ValidationError

from db.migrate import migrate
from db.packaged.servers import database_of
from db.pool import Database
from db.queries.admins import add_admin
from db.schemas.faults import predicate
from db.schemas.fields import Email, Line
from services.commands import program
from services.logs import write_out
from services.security.passwords import Passwords, weakness
from settings import Settings, load_settings

NAME: TypeAdapter[str] = TypeAdapter(Annotated[str, Line(100)])
EMAIL: TypeAdapter[str] = TypeAdapter(Email)
POOL_SIZE = 2
TRIES = 3  # at a prompt


class AdminRefused(Exception):
    """What the operator is told; no admin was made."""


class Admin(NamedTuple):
    name: str
    email: str
    password: str


@program
def main(arguments: list[str] | None = None) -> int:
    settings = load_settings()
    try:
        admin = gather(parse(arguments), settings)
        store(admin, settings)
    except AdminRefused as refusal:
        print(f"No admin was made: {refusal}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print("\nNo admin was made", file=sys.stderr)
        return 130
    write_out(f"{admin.email} is an admin now and can sign in")
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m db.create_admin", description=__doc__)
    parser.add_argument("--email")
    parser.add_argument("--name", default="Administrator")
    parser.add_argument("--password", help="visible to other users of the machine; leave it out to be asked")
    return parser.parse_args(arguments)


def gather(options: argparse.Namespace, settings: Settings) -> Admin:
    """Options, else settings, else questions; checked."""
    name = checked(NAME, "the name", options.name)
    email = settings.admin_email if options.email is None else options.email
    if email is None:
        need_terminal("email")
        email = input("E-mail: ")
    email = checked(EMAIL, "the e-mail address", email, production=settings.production)
    if options.password is None and settings.admin_password is None:
        need_terminal("password")
        return Admin(name, email, ask_password(email))
    kept = settings.admin_password.get_secret_value() if settings.admin_password else ""
    password: str = kept if options.password is None else options.password
    fault = weakness(password, email)
    if fault:
        raise AdminRefused(fault)
    return Admin(name, email, password)


def checked(kind: TypeAdapter[str], what: str, value: str, production: bool = False) -> str:
    try:
        return kind.validate_python(value, context={"production": production})
    except ValidationError as error:
        raise AdminRefused(f"{what} {predicate(error.errors()[0])}") from None


def need_terminal(what: str) -> None:
    if not sys.stdin.isatty():
        raise AdminRefused(f"there is nobody to ask; please give --{what} or set ADMIN_{what.upper()}")


def ask_password(email: str) -> str:
    """Strong enough, and twice the same."""
    for _ in range(TRIES):
        password = getpass.getpass("Password: ")
        fault = weakness(password, email)
        if fault is None and getpass.getpass("Password again: ") == password:
            return password
        print(fault or "The two are not the same", file=sys.stderr)
    raise AdminRefused("no password was agreed on")


def store(admin: Admin, settings: Settings) -> None:
    """In the database of DATABASE_URL, or the packaged one; brought up to date if it is not."""
    with database_of(settings) as url:
        migrate(url)
        asyncio.run(insert(admin, url, settings))


async def insert(admin: Admin, url: str, settings: Settings) -> None:
    passwords = Passwords(settings.password_cost)
    password_hash = await passwords.hash(admin.password)
    passwords.close()
    database = await Database.connect(url, POOL_SIZE)
    try:
        if await add_admin(database, admin.name, admin.email, password_hash) is None:
            raise AdminRefused("the e-mail address is registered already")
    finally:
        await database.close()


if __name__ == "__main__":
    sys.exit(main())
