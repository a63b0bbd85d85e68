"""The activity log of admins: one row per action, added in the transaction of the action."""

from typing import Any, Literal, NamedTuple

import orjson

from db.pool import Transaction

Action = Literal[
    "USER_SUSPENDED",
    "USER_ACTIVATED",
    "USER_DELETED",
    "USER_CREATED",
    "USER_UPDATED",
    "PASSWORD_RESET",
    "PROFILE_UPDATED",
    "CONNECTION_DELETED",
    "JOB_STARTED",
]


class Actor(NamedTuple):
    """The admin who acts, with address and user agent."""

    admin_id: str
    ip: str
    user_agent: str


# Copies the present names and e-mails. For an account that this transaction deletes, the caller passes them.
ADD_ACTIVITY = """
    insert into activity_logs (admin_id, admin_name, admin_email, ip_address, user_agent, action, description,
        target_user_id, target_user_name, target_user_email, metadata)
    select a.id, a.name, a.email, $2, left($3, 400), $4, $5, t.id, coalesce($8, t.name), coalesce($9, t.email), $7
    from users a left join users t on t.id = $6
    where a.id = $1
    returning id
"""


async def log_activity(
    tx: Transaction,
    actor: Actor,
    action: Action,
    description: str,
    *,
    target_id: str | None = None,
    target_name: str | None = None,
    target_email: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> str:
    """Add one row and return its id. `metadata` must not contain secrets."""
    about = orjson.dumps(metadata).decode() if metadata else None
    target = (target_name, target_email)
    added = await tx.fetchval(ADD_ACTIVITY, *actor, action, description, target_id, about, *target)
    if added is None:
        raise LookupError(f"there is no admin {actor.admin_id}")
    value: str = added
    return value
