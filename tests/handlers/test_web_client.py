"""What the published web client reads and how it spells routes, written here independently of our shapes."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import TypeAdapter

from handlers.http.aliases import ALIASES
from handlers.routes import make_table
from tests.conftest import EMPTY
from tests.helpers.clients import Answer, Api
from tests.helpers.factories import Person
from tests.helpers.files.forms import BOUNDARY, File, encode_form, picture

TABLE = make_table()

ACCOUNT = """id:string platform:string username:string platformUsername:string displayName:string?
    profilePicture:string? profileUrl:string? followersCount:integer followingCount:integer postsCount:integer
    engagementRate:number isActive:boolean isVerified:boolean lastSynced:string? lastSyncedAt:string?"""
REQUEST = """id:string status:string message:string? sender.id:string sender.name:string sender.email:string
    sender.influencer:object? sender.salon:object? receiver.id:string receiver.name:string receiver.email:string
    receiver.influencer:object? receiver.salon:object?"""
REQUEST_USER = """sender.influencer.profilePic:string? sender.influencer.bio:string? sender.influencer.categories:array
    receiver.salon.businessName:string? receiver.salon.profilePic:string? receiver.salon.description:string?"""
CARD = "influencer.profilePic:string? salon.profilePic:string? salon.businessName:string?"
MESSAGE = """id:string senderId:string content:string messageType:string fileUrl:string? isEdited:boolean
    isDeleted:boolean createdAt:string sender.id:string sender.name:string"""
PERSON = "user.id:string user.name:string user.email:string"

# The fields that the contract marks with a star, with their JSON types (`?`: or null) and what leads to them in `data`.
STARRED = {
    "POST /auth/verify-otp": "message:string",
    "POST /auth/login": "accessToken:string user:object user.hasCompletedOnboarding:boolean user.name:string "
    "user.email:string user.role:string user.influencer:object? user.salon:object?",
    "POST /onboarding/influencer": "message:string influencer:object influencer.categories:array",
    "POST /onboarding/salon": "message:string salon:object salon.preferredCategories:array",
    "POST /social-media/instagram/connect": ACCOUNT,
    "POST /social-media/tiktok/connect-public": ACCOUNT,
    "GET /social-media/tiktok/auth": "authUrl:string",
    "GET /social-media/accounts": ACCOUNT,
    "GET /discovery/influencers": "id:string bio:string? profilePic:string? categories:array region:string? "
    f"socialMediaAccounts:array {PERSON} " + re.sub(r"\b(\w+:)", r"socialMediaAccounts.\1", ACCOUNT),
    "GET /discovery/salons": "id:string businessName:string? description:string? profilePic:string? "
    f"preferredCategories:array region:string? {PERSON}",
    "GET /connections": f"{REQUEST} {REQUEST_USER}",
    "GET /connections/requests/sent": f"{REQUEST} {REQUEST_USER}",
    "GET /connections/requests/received": f"{REQUEST} {REQUEST_USER}",
    "GET /connections/accepted": f"{REQUEST} {REQUEST_USER}",
    "GET /connections/status/{user_id}": "status:string requestId:string?",
    "GET /chat/contacts": f"{PERSON} conversation:object? conversation.id:string conversation.lastMessageAt:string? "
    "conversation.lastMessage:string? conversation.unreadCount:integer " + re.sub(r"(\w+\.)", r"user.\1", CARD),
    "GET /chat/conversations/{other_user_id}": "id:string participants:array otherUser:object unreadCount:integer",
    "GET /chat/conversations/{conversation_id}/messages": MESSAGE,
    "GET /notifications": "id:string type:string title:string message:string isRead:boolean metadata:string? "
    "connectionRequestId:string? messageId:string? conversationId:string? createdAt:string",
    "GET /notifications/unread": "count:integer",
    "GET /profile/me": "name:string influencer:object? salon:object? influencer.socialMediaAccounts:array",
    "POST /profile/upload-picture": "profilePic:string?",
    "GET /profile/{user_id}": "connectionStatus:object? salon.region:string? salon.establishedYear:integer? "
    "salon.teamSize:integer? salon.operatingHours:string?",
    "GET /admin/dashboard/stats": "stats.users.total:integer stats.users.influencers:integer "
    "stats.users.salons:integer stats.users.verified:integer stats.users.unverified:integer "
    "stats.users.completedOnboarding:integer stats.users.recentSignups:integer "
    "stats.connections.total:integer stats.connections.pending:integer "
    "stats.connections.accepted:integer stats.connections.recent:integer stats.socialMedia.instagram:integer "
    "stats.socialMedia.tiktok:integer stats.socialMedia.total:integer stats.messages.total:integer "
    "stats.activeToday:integer charts.userGrowth:array charts.userGrowth.date:string "
    "charts.userGrowth.influencers:integer charts.userGrowth.salons:integer charts.connectionStats:array "
    "charts.connectionStats.status:string charts.connectionStats.count:integer",
    "GET /admin/users": "id:string name:string email:string role:string status:string influencer:object? salon:object? "
    "influencer.emailVerified:boolean salon.emailVerified:boolean",
    "GET /admin/connections": f"{REQUEST} "
    + " ".join(re.sub(r"(\w+\.)", rf"{side}.\1", CARD) for side in ("sender", "receiver")),
    "GET /admin/activity-logs": "id:string action:string description:string adminId:string? adminName:string? "
    "adminEmail:string? targetUserId:string? targetUserName:string? targetUserEmail:string? ipAddress:string? "
    "userAgent:string? metadata:string? createdAt:string",
}

# Routes where the web client reads fields of `data`, or `data` itself, at the top level of the answer.
TOP = {
    "POST /auth/verify-otp": {"message"},
    "POST /auth/login": {"accessToken", "user"},
    "POST /onboarding/influencer": {"message", "influencer"},
    "POST /onboarding/salon": {"message", "salon"},
    "POST /social-media/instagram/connect": {"account"},
    "POST /social-media/tiktok/connect-public": {"account"},
    "GET /social-media/tiktok/auth": {"authUrl"},
    "GET /social-media/accounts": {"accounts"},
}


class Schema:
    """The JSON schema of an endpoint's `data`; tests/helpers/clients.py checks all answers of all tests against it."""

    def __init__(self, returns: Any) -> None:
        self.root = TypeAdapter(returns).json_schema()  # as /openapi.json publishes it

    def variants(self, schema: dict[str, Any]) -> list[dict[str, Any]]:
        if "$ref" in schema:
            return self.variants(self.root["$defs"][schema["$ref"].rpartition("/")[2]])
        if "anyOf" in schema:
            return [variant for part in schema["anyOf"] for variant in self.variants(part)]
        return [schema]

    def find(self, path: str) -> str:
        """Return the JSON type at `path`; a list in the path stands for its items."""
        found = self.variants(self.root)
        for name in path.split("."):
            insides = [v for part in found for v in (self.variants(part["items"]) if "items" in part else [part])]
            objects = [part for part in insides if name in part.get("properties", {})]
            maps = [part["additionalProperties"] for part in insides if "additionalProperties" in part]
            assert objects or any(isinstance(each, dict) for each in maps), f"{name} of {path} is not declared"
            found = self.variants(objects[0]["properties"][name] if objects else maps[0])
        kinds = [part.get("type") or type(part["const"]).__name__.replace("str", "string") for part in found]
        return "".join(dict.fromkeys(kind for kind in kinds if kind != "null")) + "?" * ("null" in kinds)


@pytest.mark.parametrize("call", STARRED)
def test_starred_fields_have_their_names_and_types(call: str):
    endpoint = next(r.endpoint for r in TABLE.routes if f"{r.method} {r.path.removeprefix('/api/v1')}" == call)
    schema = Schema(endpoint.returns)
    wrong = {
        path: found
        for path, kind in (field.split(":") for field in STARRED[call].split())
        # A field may be declared as never null, although the contract would allow null.
        if (found := schema.find(path)) not in (kind, kind.removesuffix("?"))
    }
    assert wrong == {}
    assert TOP.get(call, set()) <= {*endpoint.top, endpoint.data_as}


# -- spellings -------------------------------------------------------------------------------------------------------


class Roles:
    """One call, in any spelling: the caller, the id in the path, the body."""

    def __init__(self, caller: Person | None, id: str = "", body: Any = None, **more: Any) -> None:
        self.caller, self.id, self.body, self.more = caller, id, body, more

    async def __call__(self, api: Api, method: str, path: str) -> Answer:
        return await api.call(method, path.replace("{id}", self.id), self.body, self.caller, **self.more)


async def to_ask(api, people) -> Roles:
    return Roles(await people.influencer(), body={"receiverId": (await people.salon()).id, "message": "Hi"})


async def asked(api, people, by_sender: bool = False) -> Roles:
    sender, receiver = await people.influencer(), await people.salon()
    request = (await api.post("/connections/request", {"receiverId": receiver.id}, sender)).data
    return Roles(sender if by_sender else receiver, request["id"])


async def suspended(api, people) -> Roles:
    admin, salon = await people.admin(), await people.salon()
    assert (await api.patch(f"/admin/users/{salon.id}/suspend", {}, admin)).status == 200
    return Roles(admin, salon.id)


async def with_a_picture(api, people) -> Roles:
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return Roles(await people.salon(), raw=encode_form([("profilePic", File(picture()))]), headers=headers)


async def new_bio(api, people) -> Roles:
    return Roles(await people.influencer(), body={"bio": "新しい"})


async def an_admin(api, people) -> Roles:
    return Roles(await people.admin())


async def nobody(api, people) -> Roles:
    return Roles(None)


SCENES: dict[str, Callable[..., Awaitable[Roles]]] = {
    "POST /connections/send": to_ask,
    "PUT /connections/{id}/accept": asked,
    "PUT /connections/{id}/reject": asked,
    "DELETE /connections/{id}/withdraw": lambda api, people: asked(api, people, by_sender=True),
    "GET /notifications/unread-count": asked,
    "PATCH /notifications/mark-all-read": asked,
    "PATCH /profile/update": new_bio,
    "POST /profile/upload-profile-picture": with_a_picture,
    "GET /admin/dashboard": an_admin,
    "PATCH /admin/users/{id}/activate": suspended,
    "GET /social-media/tiktok/callback": nobody,
}

UNLIKE = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+Z|person\d+@|[0-9a-f]{32}\.png|RequestId.*"
)


def alike(answer: Answer) -> tuple[int, str, str | None]:
    """Return the answer without ids, times and similar values."""
    return answer.status, UNLIKE.sub("…", answer.raw.decode()), answer.headers.get("Location")


@pytest.mark.parametrize("alias", [" ".join(alias) for alias in ALIASES])
async def test_an_alias_answers_as_its_canonical_route(api: Api, people, alias: str):
    spellings = [tuple(alias.split()), ALIASES[tuple(alias.split())]]  # type: ignore[index]
    answers = []
    for spelling in spellings:
        answer = await (await SCENES[alias](api, people))(api, *spelling)
        answers.append(alike(answer))
        await people.instance.db.execute(EMPTY)
    assert answers[0] == answers[1]
    assert answers[0][0] < 400


# -- contents of cards -----------------------------------------------------------------------------------------------

INFLUENCER_PIC, SALON_PIC = "http://media.example.com/media/hanako.png", "http://media.example.com/media/sakura.png"
PICTURES = {"influencers": INFLUENCER_PIC, "salons": SALON_PIC}


def own(person: Person, **parts: Any) -> dict[str, Any]:
    """Return the card of a user whose address the reader may know."""
    return {"id": person.id, "name": person.name, "email": person.email, "role": person.role, **parts}


def request_card(person: Person) -> dict[str, Any]:
    if person.role == "SALON":
        salon = {"businessName": f"{person.name} K.K.", "profilePic": SALON_PIC, "description": "Hair and nails"}
        return own(person, influencer=None, salon=salon)
    influencer = {"profilePic": INFLUENCER_PIC, "bio": "I show what I wear", "categories": ["beauty", "fashion"]}
    return own(person, influencer=influencer, salon=None)


def card(person: Person) -> dict[str, Any]:
    if person.role == "SALON":
        return own(person, influencer=None, salon={"profilePic": SALON_PIC, "businessName": f"{person.name} K.K."})
    return own(person, influencer={"profilePic": INFLUENCER_PIC}, salon=None)


def author(person: Person) -> dict[str, Any]:
    influencer, salon = (
        ({"profilePic": INFLUENCER_PIC}, None) if person.role == "INFLUENCER" else (None, {"profilePic": SALON_PIC})
    )
    return {"id": person.id, "name": person.name, "influencer": influencer, "salon": salon}


async def two_with_pictures(people, salon_asks: bool) -> tuple[Person, Person]:
    """Return the sender and the receiver of a request, both with pictures."""
    influencer, salon = await people.influencer(), await people.salon()
    for table, picture_url in PICTURES.items():
        await people.instance.db.execute(f"update {table} set profile_pic = $1", picture_url)
    return (salon, influencer) if salon_asks else (influencer, salon)


both_directions = pytest.mark.parametrize("salon_asks", [True, False], ids=["salon asks", "influencer asks"])


@both_directions
async def test_lists_of_requests_show_both_sides(api: Api, people, salon_asks: bool):
    sender, receiver = await two_with_pictures(people, salon_asks)
    asked = (await api.post("/connections/request", {"receiverId": receiver.id}, sender)).data

    async def check(reader: Person, paths: list[str], connected: bool) -> None:
        for path in paths:
            [row] = (await api.get(path, reader)).data
            for side, person in (("sender", sender), ("receiver", receiver)):
                known = connected or person is reader
                assert row[side] == request_card(person) | ({} if known else {"email": ""}), (path, side)

    await check(receiver, ["/connections/requests/received", "/connections?type=incoming", "/connections"], False)
    await check(sender, ["/connections/requests/sent", "/connections?type=outgoing", "/connections?type=all"], False)
    assert (await api.patch(f"/connections/requests/{asked['id']}/accept", None, receiver)).status == 200
    for reader in (sender, receiver):
        await check(reader, ["/connections/accepted", "/connections?type=accepted", "/connections?type=all"], True)
    admin = await people.admin()
    [row] = (await api.get("/admin/connections", admin)).data
    assert (row["sender"], row["receiver"]) == (card(sender), card(receiver))


@both_directions
async def test_chat_shows_the_other_side(api: Api, people, salon_asks: bool):
    one, other = await two_with_pictures(people, salon_asks)
    conversation_id = await people.connect(one, other)
    messages = f"/chat/conversations/{conversation_id}/messages"
    assert (await api.post(messages, {"content": "hello"}, one)).data["sender"] == author(one)
    for reader, partner in ((one, other), (other, one)):
        [contact] = (await api.get("/chat/contacts", reader)).data
        assert contact["user"] == card(partner)
        assert contact["conversation"]["lastMessage"] == "hello"
        [listed] = (await api.get("/chat/conversations", reader)).data
        opened = (await api.get(f"/chat/conversations/{partner.id}", reader)).data
        for conversation in (listed, opened):
            assert conversation["otherUser"] == card(partner)
            users = [participant["user"] for participant in conversation["participants"]]
            assert sorted(users, key=lambda user: user["id"]) == sorted(
                map(card, (one, other)), key=lambda user: user["id"]
            )
        assert [message["sender"] for message in listed["messages"]] == [author(one)]
        assert [message["sender"] for message in (await api.get(messages, reader)).data] == [author(one)]


@both_directions
async def test_discovery_and_profiles_show_the_other_side(api: Api, people, salon_asks: bool):
    reader, found = await two_with_pictures(people, salon_asks)
    role = found.role.lower()
    [seen] = (await api.get(f"/discovery/{role}s", reader)).data
    profile = (await api.get(f"/profile/{found.id}", reader)).data
    assert seen["user"] == own(found, email="")
    expected = request_card(found)[role]
    assert {name: seen[name] for name in expected} == {name: profile[role][name] for name in expected} == expected
    own_profile = (await api.get("/profile/me", found)).data
    assert {name: own_profile[role][name] for name in expected} == expected
