"""Create the first admin at start from ADMIN_EMAIL and ADMIN_PASSWORD if there is no admin."""

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
    """Return the faults of the two settings, by their names and without their values."""
    faults = []
    email, secret = values.get("admin_email"), values.get("admin_password")
    password = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
    if password is not None and email is None:
        faults.append("ADMIN_EMAIL: is required with ADMIN_PASSWORD")
    if email is not None and password is None:
        faults.append("ADMIN_PASSWORD: is required with ADMIN_EMAIL")
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
    """Raise SettingsError, which names the faults of the two settings."""
    faults = first_admin_faults(dict(settings))
    if faults:
        raise SettingsError("\n".join(faults))


async def make_first_admin(database: Database, passwords: Passwords, settings: Settings) -> None:
    """Create the admin. Do nothing if a setting is missing or an admin exists."""
    if settings.admin_email is None or settings.admin_password is None or await has_admin(database):
        return
    check_first_admin(settings)
    email = EMAIL.validate_python(settings.admin_email)
    password_hash = await passwords.hash(settings.admin_password.get_secret_value())
    outcome = await add_first_admin(database, NAME, email, password_hash)
    if outcome == "ADDED":
        log.info("created the first admin from ADMIN_EMAIL")
    if outcome == "ADDRESS_TAKEN":
        log.error("created no admin: ADMIN_EMAIL belongs to an account that is not an admin")
