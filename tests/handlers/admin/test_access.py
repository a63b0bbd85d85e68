"""Only admins can use the admin routes, and no answer contains a secret."""

import base64
import re

import pytest

from db.pool import Database
from handlers.admin.users import LISTS
from handlers.routes import make_table
from tests.helpers.admins import NOBODY, logs
from tests.helpers.clients import Api
from tests.helpers.factories import PASSWORD, People

ROUTES = [route for route in make_table().routes if route.path.startswith("/api/v1/admin")]

BODIES = {
    ("POST", "/admin/users"): {"name": "x", "email": "new@example.com", "password": "a long one", "role": "SALON"},
    ("PUT", "/admin/users/{id}"): {"name": "Changed"},
    ("PUT", "/admin/profile"): {"name": "Changed"},
    ("PUT", "/admin/password"): {"currentPassword": PASSWORD, "newPassword": "another long one"},
}

STATE = """
    select (select json_agg(u order by id) from users u)::text, (select json_agg(r) from connection_requests r)::text,
        (select json_agg(c) from conversations c)::text, (select count(*) from sessions where ended_at is not null),
        (select count(*) from job_runs)
"""


async def fill(db: Database, people: People) -> dict[str, str]:
    """Return ids of existing rows, so that an action would have a target."""
    salon, influencer = await people.salon(), await people.influencer()
    await people.connect(salon, influencer)
    connection = await db.fetchval("select id from connection_requests")
    return {"users": salon.id, "connections": connection}


def path_of(route, ids: dict[str, str]) -> str:
    path = route.path.removeprefix("/api/v1")
    return re.sub(r"\{[^}]*\}", ids.get(path.split("/")[2], "housekeeping"), path)


def test_there_are_admin_routes():
    assert len(ROUTES) >= 18


@pytest.mark.parametrize("kind", ["nobody", "influencer", "salon", "forged", "former"])
async def test_outsiders_can_neither_change_nor_read_anything(api: Api, people: People, db: Database, kind: str):
    ids = await fill(db, people)
    user = await (people.influencer() if kind == "influencer" else people.salon())
    if kind == "forged":  # the role in the database counts, not that of the token
        user.token = api.instance.services.tokens.access(user.id, "ADMIN", user.session_id)
    if kind == "former":
        await db.execute("update users set role = 'ADMIN' where id = $1", user.id)
        assert (await api.get("/admin/profile", user)).status == 200
        await db.execute(
            "update sessions set ended_at = clock_timestamp(), end_reason = 'LOGGED_OUT' where user_id = $1", user.id
        )
        await api.instance.sessions.check_now()
    before = await db.fetchrow(STATE)
    for route in ROUTES:
        canonical = route.alias_of or route
        body = BODIES.get((canonical.method, canonical.path.removeprefix("/api/v1")))
        answer = await api.call(route.method, path_of(route, ids), body, None if kind == "nobody" else user)
        expected = (401, None) if kind in ("nobody", "former") else (403, "FORBIDDEN")
        assert answer.status == expected[0], (route.method, route.path, answer)
        assert expected[1] is None or answer.code == expected[1]
        assert "data" not in answer.body
    assert await db.fetchrow(STATE) == before
    assert await logs(db) == []


CODE = "beautiful-7f3a91"
PLATFORM_ID = "plat-id-55"
SECRETS = {
    "otp": b"\x0b" * 32,
    "access": b"\xa1" * 40,
    "refresh": b"\xa2" * 40,
    "code": CODE,
    "platform": PLATFORM_ID,
}


ADD_OTP = """
    insert into otps (user_id, purpose, code_hash, expires_at) values ($1, 'RESET', $2, now() + interval '1 hour')
"""


async def keep_secrets(db: Database, api: Api, people: People) -> list[str]:
    """Fill every column that holds a secret, and return the secrets in all forms."""
    influencer, salon = await people.influencer(), await people.salon()
    await people.connect(influencer, salon)
    await db.execute(ADD_OTP, salon.id, SECRETS["otp"])
    await db.execute(
        """
        insert into social_media_accounts
            (influencer_id, platform, username, access_token, refresh_token, verification_code, platform_user_id)
        select id, 'TIKTOK', 'hanako', $2, $3, $4, $5 from influencers where user_id = $1
        """,
        influencer.id,
        SECRETS["access"],
        SECRETS["refresh"],
        SECRETS["code"],
        SECRETS["platform"],
    )
    tokens = (await api.post("/auth/login", {"email": salon.email, "password": PASSWORD})).data
    hashes = [row["password_hash"] for row in await db.fetch("select password_hash from users")]
    sessions = [row["id"] for row in await db.fetch("select id from sessions")]
    written = [
        form
        for value in SECRETS.values()
        for form in ([value.hex(), str(value)] if isinstance(value, bytes) else [value])
    ]
    return [*hashes, *sessions, *written, tokens["accessToken"], tokens["refreshToken"], PASSWORD, "password_hash",
            "passwordHash", "$2b$"]  # fmt: skip


SORTS = [f"?sortBy={sort}&sortOrder={order}&limit=1" for sort, order in LISTS]
QUERIES = ["", *SORTS, "?page=1", "?search=%242b%24", "?search=e&page=1", "?verified=true", "?search=%25"]


async def test_no_answer_holds_a_secret(api: Api, people: People, db: Database):
    secrets = await keep_secrets(db, api, people)
    admin, ids = await people.admin(), await fill(db, people)
    secrets.append(await db.fetchval("select password_hash from users where id = $1", admin.id))
    answers = []
    for route in ROUTES:
        if route.method == "GET":
            queries = QUERIES if "{" not in route.path else [""]
            answers += [await api.get(path_of(route, ids) + query, admin) for query in queries]
    made = await api.post("/admin/users", BODIES["POST", "/admin/users"], admin)
    secrets.append(await db.fetchval("select password_hash from users where id = $1", made.data["id"]))
    answers += [
        made,
        await api.put(f"/admin/users/{ids['users']}", {"name": "Changed"}, admin),
        await api.patch(f"/admin/users/{ids['users']}/suspend", {"reason": "x"}, admin),
        await api.patch(f"/admin/users/{ids['users']}/unsuspend", None, admin),
        await api.put("/admin/profile", {"name": "Changed"}, admin),
        await api.put("/admin/password", BODIES["PUT", "/admin/password"], admin),
        await api.get("/admin/activity-logs?limit=100", admin),
        await api.get("/admin/users?limit=100", admin),
    ]
    secrets += ["a long one", "another long one"]
    assert any(answer.status == 200 and salon_is_in(answer) for answer in answers)
    for answer in answers:
        text = answer.raw.decode()
        # A cursor is Base64, so its decoded content is searched too.
        text += "".join(map(decode, re.findall(r'"nextCursor":"([^"]+)"', text)))
        assert [secret for secret in secrets if secret in text] == [], answer


def salon_is_in(answer) -> bool:
    return "Salon Sakura" in answer.raw.decode()


def decode(cursor: str) -> str:
    return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()


async def test_a_search_for_a_secret_finds_no_user(api: Api, people: People, db: Database):
    await keep_secrets(db, api, people)
    admin = await people.admin()
    for secret in ("$2b$", CODE, PLATFORM_ID, NOBODY):
        for path in ("users", "connections", "activity-logs"):
            assert (await api.get(f"/admin/{path}?search={secret.replace('$', '%24')}", admin)).data == []
