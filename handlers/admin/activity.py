"""The activity log of admins: each action adds a row in the transaction that changes the data."""

from typing import Any

from db.pool import Transaction
from db.queries.activity_logs import Action, Actor, log_activity
from handlers.http.base import Handler


class AdminHandler(Handler):
    async def log(
        self,
        tx: Transaction,
        action: Action,
        description: str,
        *,
        target_id: str | None = None,
        target_name: str | None = None,
        target_email: str | None = None,
        **metadata: Any,
    ) -> None:
        """Add a row about an action of the caller. The target is a user; its name and e-mail stay if it is deleted."""
        actor = Actor(self.caller.id, self.ip, self.user_agent)
        target = {"target_id": target_id, "target_name": target_name, "target_email": target_email}
        await log_activity(tx, actor, action, description, **target, metadata=metadata)
