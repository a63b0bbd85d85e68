"""What admins did: one row an act, written in the act's own transaction, so that neither stands without the other."""

from typing import Any, Literal, NamedTuple

import orjson

from db.pool import Transaction

Action = Literal[
    "USER_SUSPENDED", "USER_ACTIVATED", "USER_DELETED", "USER_CREATED", "USER_UPDATED", "PASSWORD_RESET",
    "PROFILE_UPDATED", "CONNECTION_DELETED", "JOB_STARTED",
]  # fmt: skip


class Actor(NamedTuple):
    """Which admin acts, and from where."""

    admin_id: str
    ip: str
    user_agent: str


# Names and addresses are copied as they are now; of an account that is gone by now, as they are given.
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
    """Add the row of one act and answer its id; `metadata` must hold no secret."""
    about = orjson.dumps(metadata).decode() if metadata else None
    target = (target_name, target_email)
    added = await tx.fetchval(ADD_ACTIVITY, *actor, action, description, target_id, about, *target)
    if added is None:
        raise LookupError(f"there is no admin {actor.admin_id}")
    value: str = added
    return value
