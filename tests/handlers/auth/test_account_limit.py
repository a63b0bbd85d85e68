"""Guessing one account from many networks is bounded, and cannot lock its owner out."""

import asyncio
from itertools import cycle

import pytest

from db.queries.users import delete_user
from jobs import housekeeping
from services.security.addresses import NetworkHashes, read_network
from settings import Limit, Settings
from tests.helpers.clients import Api
from tests.helpers.factories import PASSWORD, Person
from tests.helpers.jobs import run_job

HOME = "[2001:db8:1:2::7]:51234"
HOME_TOMORROW = "2001:db8:1:2:ffff::1"
HOTEL = "203.0.113.9"
LIMIT = Limit(3, 3600)


@pytest.fixture(autouse=True)
def behind_a_proxy(instance, other_instance, monkeypatch):
    for one in (instance, other_instance):
        monkeypatch.setattr(one.app, "proxies", [read_network("127.0.0.1")])


async def log_in(api: Api, email: str, address: str, password: str = PASSWORD) -> int:
    body = {"email": email, "password": password}
    return (await api.post("/auth/login", body, headers={"X-Forwarded-For": address})).status


async def guess(api: Api, email: str, number: int) -> int:
    """Guess from a network that no other caller uses."""
    return await log_in(api, email, f"198.51.100.{number}", f"guess {number}")


def test_the_default():
    assert Settings.model_fields["limit_auth_account"].default == Limit(100, 3600)


async def test_guesses_from_many_networks_do_not_lock_the_owner_out(api, other_api, people, limit):
    limit("limit_auth_account", LIMIT)
    person = await people.influencer()
    assert await log_in(api, person.email, HOME) == 200
    for client, address in ((api, HOME), (other_api, HOME_TOMORROW)):
        assert await log_in(client, person.email, address, "mistyped") == 401
    statuses = await asyncio.gather(
        *(
            guess(client, person.email, number)
            for number, client in zip(range(20), cycle([api, other_api]), strict=False)
        )
    )
    assert sorted(statuses) == [401] * 3 + [429] * 17
    assert await log_in(other_api, person.email, HOTEL) == 429
    assert await log_in(other_api, person.email, HOME_TOMORROW) == 200
    assert await log_in(api, (await people.salon()).email, HOTEL) == 200


async def test_a_known_network_has_its_own_limit(api, people, limit):
    limit("limit_auth_account", LIMIT)
    person = await people.influencer()
    assert await log_in(api, person.email, HOME) == 200
    statuses = [await log_in(api, person.email, HOME, "a guess") for _ in range(5)]
    assert statuses == [401] * 3 + [429] * 2
    assert await log_in(api, person.email, HOTEL) == 200


async def test_an_address_without_an_account_is_counted_alike(api, limit):
    limit("limit_auth_account", LIMIT)
    assert [await guess(api, "nobody@example.com", number) for number in range(5)] == [401] * 3 + [429] * 2


@pytest.mark.parametrize("path", ["verify-otp", "verify-forgot-otp", "reset-password"])
async def test_codes_are_counted_too(api, limit, people, path):
    limit("limit_auth_account", LIMIT)
    person = await people.influencer()
    body = {"email": person.email, "otp": "000000", "newPassword": "an entirely new one"}
    statuses = [
        (await api.post(f"/auth/{path}", body, headers={"X-Forwarded-For": f"198.51.100.{number}"})).status
        for number in range(5)
    ]
    assert statuses == [400] * 3 + [429] * 2


async def test_one_account_is_bounded_while_redis_is_away(instance, api, people, limit, monkeypatch):
    class UnreachableRedis:
        async def eval(self, *_: object) -> None:
            raise ConnectionError

    limits = instance.services.rate_limits
    monkeypatch.setattr(limits, "redis", UnreachableRedis())
    monkeypatch.setattr(limits, "rest_until", 0.0)
    limit("limit_auth_account", LIMIT)
    email = (await people.influencer()).email
    assert sorted(await asyncio.gather(*(guess(api, email, n) for n in range(9)))) == [401] * 3 + [429] * 6
    monkeypatch.setattr(limits, "rest_until", 0.0)
    limits.local.counters.clear()


# -- known networks --


async def networks(db, person: Person) -> list[bytes]:
    rows = await db.fetch("select network_hash from known_networks where user_id = $1 order by last_used_at", person.id)
    return [row["network_hash"] for row in rows]


async def test_networks_are_remembered_by_a_keyed_hash(instance, api, people, db):
    person = await people.influencer()
    for address in (HOME, HOTEL, HOME_TOMORROW, HOTEL):
        assert await log_in(api, person.email, address) == 200
    assert await log_in(api, person.email, "198.51.100.1", "a guess") == 401
    known = [instance.services.networks.hashes(network)[0] for network in ("2001:db8:1:2::/64", HOTEL)]
    assert await networks(db, person) == known
    assert all(len(digest) == 32 for digest in known)


async def test_the_latest_twenty_networks_are_remembered(instance, api, people, db):
    person = await people.influencer()
    for number in [*range(22), 5]:
        assert await log_in(api, person.email, f"198.51.100.{number}") == 200
    newest = [instance.services.networks.hashes(f"198.51.100.{number}")[0] for number in [2, 3, 4, *range(6, 22), 5]]
    assert await networks(db, person) == newest


async def test_networks_stay_known_after_a_change_of_the_encryption_key(instance, api, people, limit, monkeypatch):
    limit("limit_auth_account", LIMIT)
    person = await people.influencer()
    assert await log_in(api, person.email, HOME) == 200
    rotated = instance.settings.model_copy(
        update={
            "encryption_key": type(instance.settings.encryption_key)("00" * 32),
            "encryption_keys_old": [instance.settings.encryption_key],
        }
    )
    monkeypatch.setattr(instance.services, "networks", NetworkHashes(rotated))
    for number in range(4):
        await guess(api, person.email, number)
    assert await log_in(api, person.email, HOTEL) == 429
    assert await log_in(api, person.email, HOME) == 200


async def test_networks_are_forgotten_with_the_account_and_with_time(instance, api, people, db):
    leaves, stays = await people.influencer(), await people.salon()
    for person in (leaves, stays):
        for address in (HOME, HOTEL):
            assert await log_in(api, person.email, address) == 200
    async with db.transaction() as tx:
        await delete_user(tx, leaves.id)
    assert (len(await networks(db, leaves)), len(await networks(db, stays))) == (0, 2)
    oldest = (await networks(db, stays))[0]
    await db.execute(
        "update known_networks set last_used_at = now() - interval '1 year 1 day' where network_hash = $1", oldest
    )
    assert (await run_job(instance, housekeeping))["knownNetworks"] == 1
    assert len(await networks(db, stays)) == 1
