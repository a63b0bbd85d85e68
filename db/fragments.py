"""SQL fragments that several statements need. Each function takes and returns SQL expressions."""


def pair(one: str, other: str) -> str:
    """Return two users in the order in which tables and unique indexes store a pair: the smaller id first."""
    return f"least({one}, {other}), greatest({one}, {other})"


def is_between(request: str, one: str, other: str) -> str:
    """Return whether a row of connection_requests is that of these two users, in either direction."""
    return f"({pair(f'{request}.sender_id', f'{request}.receiver_id')}) = ({pair(one, other)})"


def is_participant(conversation: str, user: str) -> str:
    """Return whether a user takes part in a row of conversations."""
    return f"{user} in ({conversation}.low_id, {conversation}.high_id)"


def other_participant(conversation: str, user: str) -> str:
    """Return the id of the participant of a row of conversations who is not this user."""
    return f"case when {conversation}.low_id = {user} then {conversation}.high_id else {conversation}.low_id end"


def is_unread(message: str, reader: str, mark: str) -> str:
    """Return whether a message is unread: after the reader's mark, from the other participant, not deleted."""
    return f"({message}.seq > {mark} and {message}.sender_id <> {reader} and {message}.deleted_at is null)"


def is_recent(time: str, seconds: str) -> str:
    """Return whether a time is within the last seconds, which are a parameter.

    The range has two ends, because PostgreSQL plans for all values of a parameter: of a range with one end it expects a
    third of the table, and reads all of it; of one with two it expects half a per cent, and uses the index."""
    return f"({time} > now() - make_interval(secs => {seconds}) and {time} < 'infinity')"


def unread_notifications(user: str) -> str:
    """Return how many unread notifications a user has before the changes of the same statement."""
    return f"(select count(*) from notifications counted where counted.user_id = {user} and not counted.is_read)"


def withdraw_notices() -> str:
    """Return a CTE that deletes the notifications of the open requests in the CTE `requests`.

    `requests` has rows of connection_requests."""
    return """
        delete from notifications n using requests r
        where n.connection_request_id = r.id and n.user_id = r.receiver_id and n.type = 'CONNECTION_REQUEST'
            and r.status = 'PENDING'
        returning n.id, n.user_id, n.is_read
    """


def unread_after_withdrawal(user: str) -> str:
    """Return how many unread notifications a user has after the CTE `withdrawn` (`withdraw_notices`)."""
    return f"""
        {unread_notifications(user)}
            - (select count(*) from withdrawn where withdrawn.user_id = {user} and not withdrawn.is_read)
    """
