"""Types of the data that the server sends, as `/openapi.json` and `/asyncapi.json` describe them."""

from typing import Literal, NotRequired, TypedDict


class Tokens(TypedDict):
    accessToken: str
    refreshToken: str
    # When the access token expires, in milliseconds by this machine's clock, which may differ from the server's.
    expiresAt: NotRequired[int]


class Picture(TypedDict):
    profilePic: str | None


class Sender(TypedDict):
    id: str
    name: str
    influencer: Picture | None
    salon: Picture | None


class Message(TypedDict):
    id: str
    conversationId: str
    senderId: str
    seq: int
    rev: int
    clientMessageId: str | None
    content: str
    messageType: Literal["TEXT", "IMAGE", "FILE"]
    fileUrl: str | None
    fileName: str | None
    fileSize: int | None
    isEdited: bool
    isDeleted: bool
    deletedAt: str | None
    createdAt: str
    updatedAt: str
    sender: Sender


class Deletion(TypedDict):
    messageId: str
    conversationId: str
    seq: int
    rev: int


class Read(TypedDict):
    conversationId: str
    userId: str
    seq: int
    readAt: str


class Attachment(TypedDict):
    fileUrl: str
    fileName: str
    fileSize: int
    messageType: Literal["TEXT", "IMAGE", "FILE"]


class Ready(TypedDict):
    userId: str
    sessionId: str
    heartbeatMs: int
    unreadNotifications: int
    unreadMessages: int


class NewMessage(TypedDict):
    conversationId: str
    clientMessageId: str
    content: str
    messageType: str
    fileUrl: str | None


class Unsent(NewMessage):
    """A message that waits in the outbox, as the persistence hook stores it."""

    userId: str  # of its author: other users of the same store do not send it
    queuedAt: int  # milliseconds of this machine's clock, for the order
