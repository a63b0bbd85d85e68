"""Client of Beautiful Encer: a chat without gaps. README.md shows how to use it."""

from .client import Encer
from .conversation import Conversation
from .errors import (
    AccountSuspended,
    CertificateRefused,
    Closed,
    Conflict,
    EncerError,
    Invalid,
    NotAllowed,
    NotFound,
    NotSignedIn,
    OriginRefused,
    OutboxFull,
    RateLimited,
    SendTimeout,
    SessionEnded,
    SlowConsumer,
    TooLarge,
    TooMany,
    Unavailable,
    Unreachable,
    WrongCredentials,
    WrongServer,
    WrongVersion,
)
from .outbox import OutboxStore
from .tokens import FileTokens, MemoryTokens, TokenStore
from .types import Attachment, Deletion, Message, Read, Tokens, Unsent

__all__ = [
    "AccountSuspended", "Attachment", "CertificateRefused", "Closed", "Conflict", "Conversation", "Deletion", "Encer",
    "EncerError", "FileTokens", "Invalid", "MemoryTokens", "Message", "NotAllowed", "NotFound", "NotSignedIn",
    "OriginRefused", "OutboxFull", "OutboxStore", "RateLimited", "Read", "SendTimeout", "SessionEnded", "SlowConsumer",
    "TokenStore", "Tokens", "TooLarge", "TooMany", "Unavailable", "Unreachable", "Unsent", "WrongCredentials",
    "WrongServer", "WrongVersion",
]  # fmt: skip
