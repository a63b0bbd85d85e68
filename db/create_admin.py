"""`.venv/bin/python -m db.create_admin` creates an admin.

E-mail and password come from the options, or from ADMIN_EMAIL and ADMIN_PASSWORD, or the program asks for them. Other
users of the machine can read the options while it runs, so do not pass a password as an option.
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
    """No admin was created; the text tells the operator why."""


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
        print(f"No admin was created: {refusal}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print("\nNo admin was created", file=sys.stderr)
        return 130
    write_out(f"{admin.email} is an admin now and can sign in")
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m db.create_admin", description=__doc__)
    parser.add_argument("--email")
    parser.add_argument("--name", default="Administrator")
    parser.add_argument("--password", help="visible to other users of the machine; without it the program asks")
    return parser.parse_args(arguments)


def gather(options: argparse.Namespace, settings: Settings) -> Admin:
    """Return name, e-mail and password from options, settings or prompts. Raises AdminRefused."""
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
        raise AdminRefused(f"there is no terminal to ask at; please give --{what} or set ADMIN_{what.upper()}")


def ask_password(email: str) -> str:
    """Ask until a strong password is entered twice; return it. Raises AdminRefused after TRIES."""
    for _ in range(TRIES):
        password = getpass.getpass("Password: ")
        fault = weakness(password, email)
        if fault is None and getpass.getpass("Password again: ") == password:
            return password
        print(fault or "The two passwords are not the same", file=sys.stderr)
    raise AdminRefused("no strong password was entered twice")


def store(admin: Admin, settings: Settings) -> None:
    """Store the admin in the database of DATABASE_URL, or the packaged one, after missing migrations are applied."""
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
