"""The first admin, made at start from ADMIN_EMAIL and ADMIN_PASSWORD if there is none; no password is built in."""

from collections.abc import Mapping
from typing import Any

import structlog
from pydantic import SecretStr, TypeAdapter, ValidationError

from db.pool import Database
from db.queries.admins import add_first_admin, has_admin
from db.schemas.fields import Email
from services.security.passwords import Passwords, weakness
from settings import Settings, SettingsError

log = structlog.get_logger()

NAME = "Administrator"
EMAIL: TypeAdapter[str] = TypeAdapter(Email)


def first_admin_faults(values: Mapping[str, Any]) -> list[str]:
    """Name what is wrong with the two settings as they are written, and no value of either."""
    faults = []
    email, secret = values.get("admin_email"), values.get("admin_password")
    password = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
    if password is not None and email is None:
        faults.append("ADMIN_EMAIL: is needed with ADMIN_PASSWORD")
    if email is not None and password is None:
        faults.append("ADMIN_PASSWORD: is needed with ADMIN_EMAIL")
    if email is not None:
        try:
            EMAIL.validate_python(email, context={"production": values.get("app_env") == "production"})
        except ValidationError:
            faults.append("ADMIN_EMAIL: is not a valid e-mail address")
    fault = weakness(password, email or "") if password is not None else None
    if fault:
        faults.append(f"ADMIN_PASSWORD: {fault}")
    return faults


def check_first_admin(settings: Settings) -> None:
    """Raises SettingsError, which names what is wrong with the two settings."""
    faults = first_admin_faults(dict(settings))
    if faults:
        raise SettingsError("\n".join(faults))


async def make_first_admin(database: Database, passwords: Passwords, settings: Settings) -> None:
    """Does nothing without the settings, or with an admin there."""
    if settings.admin_email is None or settings.admin_password is None or await has_admin(database):
        return
    check_first_admin(settings)
    email = EMAIL.validate_python(settings.admin_email)
    password_hash = await passwords.hash(settings.admin_password.get_secret_value())
    outcome = await add_first_admin(database, NAME, email, password_hash)
    if outcome == "ADDED":
        log.info("the first admin is made from ADMIN_EMAIL")
    if outcome == "ADDRESS_TAKEN":
        log.error("no admin was made: ADMIN_EMAIL belongs to an account that is none")
