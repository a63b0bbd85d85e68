"""The directory has all accounts except admins and deleted ones, and is current at every commit."""

import asyncio

from db.pool import Database
from tests.helpers.clients import Api
from tests.helpers.factories import PASSWORD, People

DIFFERENCES = """
    (select 'too much', * from directory except select 'too much', * from directory_sources)
    union all
    (select 'missing', * from directory_sources except select 'missing', * from directory)
"""


async def check(db: Database, *names: str) -> None:
    """Check that the directory equals its sources and lists these texts of names."""
    assert await db.fetch(DIFFERENCES) == []
    assert sorted(row["names"] for row in await db.fetch("select names from directory")) == sorted(names)


async def test_it_follows_every_change(api: Api, people: People, db: Database):
    admin, salon = await people.admin(), await people.salon("Sakura")
    hanako = await people.influencer("Hanako")
    await check(db, "hanako", "sakura\nsakura k.k.")
    for method, path, body, user in (
        ("PUT", "/profile/update", {"name": "ＨＡＮＡ"}, hanako),
        ("PUT", "/profile/update", {"businessName": "Été"}, salon),
        ("PATCH", f"/admin/users/{salon.id}/suspend", {}, admin),
        ("PATCH", f"/admin/users/{salon.id}/unsuspend", {}, admin),
        ("PUT", f"/admin/users/{salon.id}", {"email": "new@example.com"}, admin),
    ):
        answer = await api.call(method, path, body, user)
        assert answer.status == 200, answer
        assert await db.fetch(DIFFERENCES) == []
    await check(db, "hana", "sakura\nété")
    new = {"name": "Taro", "email": "taro@example.com", "password": PASSWORD, "role": "INFLUENCER"}
    taro = (await api.post("/admin/users", new, admin)).data["id"]
    await check(db, "hana", "sakura\nété", "taro")
    assert (await api.delete(f"/admin/users/{taro}", admin)).status == 200
    assert (await api.delete("/profile/delete-account", hanako, {"password": PASSWORD})).status == 200
    await check(db, "sakura\nété")
    await db.execute("delete from users where id = $1", salon.id)
    await check(db)


async def test_two_concurrent_changes_of_one_account_both_apply(people: People, db: Database):
    salon = await people.salon("Sakura")
    for n in range(20):
        await asyncio.gather(
            db.execute("update users set name = $2 where id = $1", salon.id, f"name {n}"),
            db.execute("update salons set business_name = $2 where user_id = $1", salon.id, f"shop {n}"),
        )
        await check(db, f"name {n}\nshop {n}")


async def test_a_text_that_grows_when_it_is_folded_fits_its_index(api: Api, people: People, db: Database):
    person = await people.influencer()
    assert (await api.put("/profile/update", {"name": "ﷺ" * 100}, person)).status == 200
    admin = await people.admin()
    for order in ("asc", "desc"):
        page = await api.get(f"/admin/users?sortBy=name&sortOrder={order}&search=ﷺ".replace("ﷺ", "%EF%B7%BA"), admin)
        assert [row["id"] for row in page.data] == [person.id]
    assert await db.fetch(DIFFERENCES) == []
