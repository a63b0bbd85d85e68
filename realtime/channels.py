"""The names of the Redis channels, defined only here."""

ALL_INSTANCES = "encer:all"  # an instance that lost queued events publishes `resync` here


def user(user_id: str) -> str:
    """Return the channel of one user's sockets."""
    return f"encer:user:{user_id}"


def conversation(conversation_id: str) -> str:
    """Return the channel of the sockets that joined a conversation."""
    return f"encer:conversation:{conversation_id}"
