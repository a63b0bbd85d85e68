"""Key rotation: old and new keys together, all encrypted columns, interrupted and continued, with running instances."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from db.queries.outbox import payload_identity
from db.rotate_keys import COLUMNS, rotate
from jobs import data_sync, housekeeping, token_refresh
from services.mail.queue import queue_mail
from services.security.encryption import DecryptionFailed, Encryption
from services.tiktok.account_tokens import TikTokAccounts, identity
from tests.helpers.jobs import run_job
from tests.helpers.programs import long_test
from tests.helpers.social import age, begin_oauth, come_back, connect_oauth, state_of

ROOT = Path(__file__).parents[2]
OLD, NEW, OTHER = (bytes([number]) * 32 for number in (1, 2, 3))
PARAMS = {"name": "花子", "code": "012345", "minutes": "10"}


@pytest.fixture
def use_keys(instance, other_instance, monkeypatch):
    """Return a function that sets the keys of both instances, as after a restart."""

    def use(current: bytes, *old: bytes) -> Encryption:
        encryption = Encryption(current, old)
        for one in (instance, other_instance):
            monkeypatch.setattr(one.services, "encryption", encryption)
            accounts = TikTokAccounts(one.services.tiktok.oauth, encryption, one.services.tiktok.stored)
            monkeypatch.setattr(one.services, "tiktok", accounts)
            monkeypatch.setattr(one.outbox, "encryption", encryption)
        return encryption

    return use


async def envelopes(db) -> list[bytes]:
    return [row["envelope"] for column in COLUMNS for row in await db.fetch(column.select, None, 1000)]


async def fill(api, people, tiktok, db, encryption, count: int = 3) -> str:
    """Add accounts with tokens, a queued revocation, a started sign-in and a mail; return the sign-in's address."""
    for number in range(count):
        await connect_oauth(api, tiktok, await people.influencer(), f"person.{number}")
    gone = await people.influencer()
    await connect_oauth(api, tiktok, gone, "gone")
    tiktok.fail("server_error", "revoke")
    await api.delete("/social-media/tiktok", gone)
    async with db.transaction() as tx:  # so that no outbox sends it before its time is changed
        await queue_mail(tx, encryption, "a@example.com", "reset", PARAMS)
        await tx.execute("update email_outbox set next_attempt_at = now() + interval '1 hour'")
    return await begin_oauth(api, await people.influencer("Late"))


async def test_everything_is_encrypted_again_and_the_old_key_is_not_needed(api, people, tiktok, db, use_keys):
    auth_url = await fill(api, people, tiktok, db, use_keys(OLD))
    before = await envelopes(db)
    both = use_keys(NEW, OLD)
    assert await rotate(db, both) == {"rotated": len(before)}
    assert len(before) == 3 * 2 + 2 + 1 + 1
    assert await rotate(db, both) == {"current": len(before)}
    assert not set(before) & set(await envelopes(db))

    alone = use_keys(NEW)
    row = await db.fetchrow("select id, refresh_token from social_media_accounts limit 1")
    assert alone.decrypt(row["refresh_token"], identity(row["id"], "refresh_token")) in tiktok.refresh_tokens
    mail = await db.fetchrow("select id, payload from email_outbox")
    assert "012345" in alone.decrypt(mail["payload"], payload_identity(mail["id"]))
    assert await come_back(api, code=tiktok.approve(auth_url, "late"), state=state_of(auth_url)) == {
        "tiktok": "connected"
    }


async def test_before_the_rotation_both_keys_are_read(api, people, tiktok, db, use_keys):
    use_keys(OLD)
    sakura = await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    use_keys(NEW, OLD)
    account = (await api.get("/social-media/accounts", sakura)).data[0]
    await age(db, 8)
    assert (await api.post("/social-media/tiktok/public/sync", {"accountId": account["id"]}, sakura)).status == 200


async def test_a_missing_key_in_the_settings_marks_no_account(api, instance, people, tiktok, db, use_keys):
    use_keys(OLD)
    sakura = await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    account = (await api.get("/social-media/accounts", sakura)).data[0]
    await age(db, 8)
    use_keys(NEW)
    assert (await api.post("/social-media/tiktok/public/sync", {"accountId": account["id"]}, sakura)).status == 502
    assert await run_job(instance, data_sync) == {"failed": 1}
    assert await run_job(instance, token_refresh) == {"leftDue": 1}
    assert not await db.fetchval("select needs_reconnect from social_media_accounts")
    assert (await api.delete("/social-media/tiktok", sakura)).status == 200
    assert await run_job(instance, housekeeping) == {"revocationsLeft": 1}
    use_keys(NEW, OLD)
    assert await run_job(instance, housekeeping) == {"revoked": 1}
    assert not tiktok.refresh_tokens


async def test_an_interrupted_rotation_continues(api, people, tiktok, db, use_keys, monkeypatch):
    await fill(api, people, tiktok, db, use_keys(OLD), count=5)
    both = use_keys(NEW, OLD)
    encrypt, calls = Encryption.encrypt, 0

    def dies(self, plaintext, bound_to):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return encrypt(self, plaintext, bound_to)

    monkeypatch.setattr(Encryption, "encrypt", dies)
    with pytest.raises(KeyboardInterrupt):
        await rotate(db, both)
    monkeypatch.setattr(Encryption, "encrypt", encrypt)
    counts = await rotate(db, both)
    assert (counts["current"], counts["rotated"]) == (3, len(await envelopes(db)) - 3)


async def test_concurrent_rotations_and_refreshes_lose_nothing(api, people, tiktok, db, instance, use_keys):
    await fill(api, people, tiktok, db, use_keys(OLD), count=5)
    both = use_keys(NEW, OLD)
    ids = [row["id"] for row in await db.fetch("select id from social_media_accounts")]
    results = await asyncio.gather(
        rotate(db, both), rotate(db, both), *(instance.services.tiktok.refresh(id) for id in ids)
    )
    assert all(isinstance(result, str) for result in results[2:])
    await rotate(db, both)
    alone = use_keys(NEW)
    for row in await db.fetch("select id, refresh_token from social_media_accounts"):
        assert alone.decrypt(row["refresh_token"], identity(row["id"], "refresh_token")) in tiktok.refresh_tokens


async def test_tokens_in_a_refresh_are_left_to_the_next_run(api, people, tiktok, db, use_keys):
    use_keys(OLD)
    await connect_oauth(api, tiktok, await people.influencer())
    await db.execute("update social_media_accounts set refresh_claimed_until = now() + interval '1 minute'")
    both = use_keys(NEW, OLD)
    assert await rotate(db, both) == {"in use": 2}
    await db.execute("update social_media_accounts set refresh_claimed_until = now()")
    assert await rotate(db, both) == {"rotated": 2}


async def test_unreadable_values_are_printed_and_not_changed(api, people, tiktok, db, use_keys, capsys):
    use_keys(OTHER)
    await connect_oauth(api, tiktok, await people.influencer())
    before = await envelopes(db)
    assert await rotate(db, Encryption(NEW, [OLD])) == {"unreadable": 2}
    assert "access_token" in capsys.readouterr().err
    assert await envelopes(db) == before
    with pytest.raises(DecryptionFailed):
        Encryption(NEW, [OLD]).decrypt(before[0], "x")


@long_test()
async def test_the_program(api, people, tiktok, db, use_keys, servers, data_dir):
    await fill(api, people, tiktok, db, use_keys(OLD))

    def run(**keys: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": servers.database_url,
            "DATA_DIR": str(data_dir),
            "APP_ENV": "test",
            **keys,
        }
        program = [sys.executable, "-m", "db.rotate_keys"]
        return subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30)

    keys = {"ENCRYPTION_KEY": NEW.hex(), "ENCRYPTION_KEYS_OLD": OLD.hex()}
    wrong = await asyncio.to_thread(run, ENCRYPTION_KEY=NEW.hex())
    assert (wrong.returncode, "any of the keys" in wrong.stdout) == (1, True)
    done = await asyncio.to_thread(run, **keys)
    assert (done.returncode, done.stdout) == (0, "10 encrypted with the current key, 0 had it already\n"), done
    again = await asyncio.to_thread(run, **keys)
    assert (again.returncode, again.stdout) == (0, "0 encrypted with the current key, 10 had it already\n")
    assert not any(key in done.stdout + done.stderr + wrong.stderr for key in (NEW.hex(), OLD.hex()))
