"""The jobs without vendors: the reminder and housekeeping."""

import asyncio
import email
from email import policy

import orjson
import pytest

from jobs import housekeeping, instagram_reminder
from tests.helpers.jobs import run_job
from tests.vendors.smtp import bodies

ADD_ACCOUNT = """
    insert into social_media_accounts (influencer_id, platform, username, verification_code, created_at)
    select id, $2, $3, 'encer-TEST2345', now() - make_interval(days => $4) from influencers where user_id = $1
    returning id
"""


async def add_account(db, person, platform="INSTAGRAM", username="sakura.nails", days_old=4) -> str:
    return await db.fetchval(ADD_ACCOUNT, person.id, platform, username, days_old)


async def mails(db) -> list[tuple[str, str]]:
    rows = await db.fetch("select recipient, template from email_outbox order by created_at")
    return [tuple(row) for row in rows]


async def later(db, days: int) -> None:
    await db.execute("update social_media_accounts set reminded_at = reminded_at - make_interval(days => $1)", days)


async def test_a_reminder_is_one_mail_and_one_notification_at_most_weekly_and_three_times(instance, people, db, api):
    sakura = await people.influencer("Sakura")
    account = await add_account(db, sakura)
    socket = await api.socket(sakura)
    for week in range(5):
        counts = await run_job(instance, instagram_reminder)
        assert counts == ({"reminded": 1} if week < 3 else {})
        assert await run_job(instance, instagram_reminder) == {}
        await later(db, 6)
        assert await run_job(instance, instagram_reminder) == {}
        await later(db, 1)
    assert await mails(db) == [(sakura.email, "instagram_reminder")] * 3
    (notification, *others) = (await api.get("/notifications", sakura)).data
    assert len(others) == 2
    assert "encer-TEST2345" in notification["message"]
    assert (notification["type"], orjson.loads(notification["metadata"])["accountId"]) == ("SYSTEM", account)
    received = await socket.expect("notification_received")
    assert received["unreadCount"] == 1
    assert (await socket.received_names()).count("notification_received") == 3
    await socket.close()


async def test_the_mail_says_what_to_do(instance, people, db):
    sakura = await people.influencer("Sakura")
    await add_account(db, sakura)
    await run_job(instance, instagram_reminder)
    async with asyncio.timeout(5):
        while not await db.fetchval("select sent_at from email_outbox"):
            await asyncio.sleep(0)
    mail = max((instance.settings.data_dir / "mail").glob("*.eml"), key=lambda path: path.stat().st_mtime_ns)
    text, _ = bodies(email.message_from_bytes(mail.read_bytes(), policy=policy.default))
    assert all(part in text for part in ("encer-TEST2345", "sakura.nails", "http://app.example.com/social-media"))


@pytest.mark.parametrize(
    "change",
    [
        "update social_media_accounts set is_verified = true",
        "update social_media_accounts set is_active = false",
        "update social_media_accounts set platform = 'TIKTOK'",
        "update social_media_accounts set created_at = now() - interval '71 hours'",
        "update users set status = 'SUSPENDED'",
        "update users set email_verified_at = null",
    ],
)
async def test_users_who_are_not_reminded(instance, people, db, change):
    await add_account(db, await people.influencer())
    await db.execute(change)
    assert await run_job(instance, instagram_reminder) == {}
    assert await mails(db) == []


async def test_two_runs_at_once_remind_once(instance, other_instance, people, db):
    for number in range(30):
        await add_account(db, await people.influencer(), username=f"nails{number}")
    jobs = [run_job(instance, instagram_reminder), run_job(other_instance, instagram_reminder)]
    first, second = [await job for job in jobs]
    assert first.get("reminded", 0) + second.get("reminded", 0) == 30
    assert len(await mails(db)) == 30


PUT_LEFTOVERS = """
    insert into otps (user_id, purpose, code_hash, expires_at)
        values ($1, 'VERIFY', 'x', now() - interval '1 second'), ($1, 'RESET', 'x', now() + interval '1 minute');
    insert into otp_attempts (email, purpose, expires_at) values
        ('old@example.com', 'VERIFY', now() - interval '1 second'),
        ('new@example.com', 'VERIFY', now() + interval '1 minute');
    insert into sign_ups (user_id, network, device, name, role, password_hash, code_hash, code_expires_at) values
        ($1, 'old', 'x', 'x', 'SALON', 'x', 'x', now() - interval '31 days'),
        ($1, 'new', 'x', 'x', 'SALON', 'x', 'x', now() - interval '29 days');
    insert into sessions (user_id, expires_at, ended_at, end_reason) values
        ($1, now() - interval '1 second', null, null),
        ($1, now() + interval '1 day', now() - interval '25 hours', 'LOGGED_OUT'),
        ($1, now() + interval '1 day', now() - interval '23 hours', 'LOGGED_OUT');
    insert into email_outbox (recipient, template, sent_at, failed_at) values
        ('old@example.com', 'verify', now() - interval '31 days', null),
        ('new@example.com', 'verify', now() - interval '29 days', null),
        ('failed@example.com', 'verify', null, now() - interval '31 days'),
        ('waiting@example.com', 'verify', null, null);
    insert into email_outbox (recipient, template, locked_until, senders_lost) values
        ('deadly@example.com', 'verify', now() - interval '1 second', 9);
    insert into notifications (user_id, type, title, message, is_read, updated_at) values
        ($1, 'SYSTEM', 'old', 'x', true, now() - interval '91 days'),
        ($1, 'SYSTEM', 'new', 'x', true, now() - interval '89 days'),
        ($1, 'SYSTEM', 'unread', 'x', false, now() - interval '91 days');
    insert into job_runs (job, scheduled_for, runner, lease_until, status, started_at) values
        ('old', now(), 'x', now(), 'SUCCEEDED', now() - interval '91 days'),
        ('new', now(), 'x', now(), 'SUCCEEDED', now() - interval '89 days');
"""


async def test_housekeeping_deletes_only_expired_rows(instance, people, db):
    sakura = await people.influencer()
    await db.execute(PUT_LEFTOVERS.replace("$1", f"'{sakura.id}'"))
    assert await run_job(instance, housekeeping) == {
        "otps": 1,
        "otpAttempts": 1,
        "signUps": 1,
        "expiredSessions": 1,
        "endedSessions": 1,
        "sentMails": 1,
        "failedMails": 1,
        "readNotifications": 1,
        "jobRuns": 1,
    }
    assert await db.fetchval("select array_agg(purpose) from otps") == ["RESET"]
    assert await db.fetchval("select array_agg(email) from otp_attempts") == ["new@example.com"]
    assert await db.fetchval("select array_agg(network) from sign_ups") == ["new"]
    assert await db.fetchval("select count(*) from sessions") == 2  # the current one, and one that ended lately
    kept = await db.fetchval("select array_agg(recipient order by recipient) from email_outbox")
    assert kept == ["deadly@example.com", "new@example.com", "waiting@example.com"]
    given_up = await db.fetchval("select recipient from email_outbox where last_error = 'every sender died'")
    assert given_up == "deadly@example.com"
    assert await db.fetchval("select array_agg(title order by title) from notifications") == ["new", "unread"]
    assert set(await db.fetchval("select array_agg(job) from job_runs")) == {"new", "housekeeping"}


async def test_housekeeping_deletes_in_small_batches(instance, db, monkeypatch):
    monkeypatch.setattr(housekeeping, "BATCH_ROWS", 100)
    await db.execute("""
        insert into email_outbox (recipient, template, sent_at)
        select 'a@example.com', 'verify', now() - interval '31 days' from generate_series(1, 1234)
    """)
    assert (await run_job(instance, housekeeping))["sentMails"] == 1234
    assert await db.fetchval("select count(*) from email_outbox") == 0


ADD_ATTACHMENT = """
    insert into attachments (url, conversation_id, uploader_id, file_name, file_size, message_type, created_at)
    values ($1, $2, $3, 'x.png', 1, 'IMAGE', now() - make_interval(days => $4))
"""

ADD_MESSAGE = """
    insert into messages (conversation_id, sender_id, seq, rev, content, message_type, file_url)
    values ($1, $2, 1, 1, '', 'IMAGE', $3)
"""


async def test_housekeeping_deletes_files_that_were_never_sent(instance, people, db, monkeypatch):
    monkeypatch.setattr(housekeeping, "BATCH_FILES", 2)
    salon, sakura = await people.salon(), await people.influencer()
    conversation = await people.connect(salon, sakura)
    media = instance.services.media
    urls = [await media.save("chat", b"picture", "image/png", "png") for _ in range(6)]
    for url, days in zip(urls, (8, 8, 8, 8, 6, 8), strict=True):
        await db.execute(ADD_ATTACHMENT, url, conversation, salon.id, days)
    await db.execute(ADD_MESSAGE, conversation, salon.id, urls[5])
    assert await run_job(instance, housekeeping) == {"unsentAttachments": 4}
    assert set(await db.fetchval("select array_agg(url) from attachments")) == set(urls[4:])
    kept = [bool(media.path_of(url.partition("/media/")[2])) for url in urls]
    assert kept == [False] * 4 + [True] * 2


async def test_a_file_that_cannot_be_deleted_does_not_stop_the_job(instance, people, db, monkeypatch):
    salon, sakura = await people.salon(), await people.influencer()
    conversation = await people.connect(salon, sakura)
    for number in range(3):
        await db.execute(ADD_ATTACHMENT, f"http://x/{number}", conversation, salon.id, 8)

    async def delete(url):
        if url.endswith("1"):
            raise OSError("disk")

    monkeypatch.setattr(instance.services.media, "delete", delete)
    assert await run_job(instance, housekeeping) == {"unsentAttachments": 2, "filesLeft": 1}
