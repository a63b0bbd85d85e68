"""The only place where channel names are spelt."""

EVERYBODY = "encer:all"  # what concerns every instance


def user(user_id: str) -> str:
    """What one user is told, on whichever socket."""
    return f"encer:user:{user_id}"


def conversation(conversation_id: str) -> str:
    """What those who have joined a conversation are told."""
    return f"encer:conversation:{conversation_id}"
