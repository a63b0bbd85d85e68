"""A mail is sent once over all instances, also if senders die, freeze or lose the database at a critical moment."""

import asyncio
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg
import pytest

from db.migrate import migrate
from db.packaged.servers import ServerUrls
from db.pool import Database, DatabaseUnavailable
from jobs import outbox as service
from jobs.outbox import CODE_RETRY_HOURS, MARK_SENT, MAX_LOST_SENDERS, RETRY_HOURS, Outbox
from services.mail.queue import queue_mail
from services.mail.senders import Mail, PermanentMailError, TemporaryMailError
from services.mail.smtp import SmtpSender
from services.security.encryption import Encryption
from tests.helpers.mail.mails import FROM
from tests.helpers.processes import server_process
from tests.helpers.programs import long_test
from tests.vendors.smtp import Inbox, smtp_server

PARAMS = {"name": "花子", "code": "012345", "minutes": "10"}
DUE_NOW = "update email_outbox set next_attempt_at = now(), locked_until = null where sent_at is null"
CLAIMS_RUN_OUT = "update email_outbox set locked_until = now() - interval '1 second' where locked_until is not null"
LIST_MAILS = "select recipient, attempts, sent_at, failed_at, payload, last_error from email_outbox order by recipient"


@dataclass
class FakeSender:
    """A sender that stores its mails; `plan` has the outcome of each."""

    plan: list[BaseException] = field(default_factory=list)
    taken: list[tuple[str, str]] = field(default_factory=list)  # address, message id
    destination: str = "test"

    async def send(self, mail: Mail, message_id: str) -> None:
        await asyncio.sleep(0)
        if self.plan:
            raise self.plan.pop(0)
        self.taken.append((mail.to, message_id))


@pytest.fixture(scope="module")
def own_urls(servers: ServerUrls):
    """Create a database in which no other instance sends."""
    with psycopg.connect(servers.database_url, autocommit=True) as conn:
        conn.execute("drop database if exists mails with (force)")
        conn.execute("create database mails")
        url = servers.database_url.replace("/encer?", "/mails?")
        migrate(url)
        yield ServerUrls(url, servers.redis_url)
        conn.execute("drop database mails with (force)")


@pytest.fixture
def own_db(io_loop, own_urls: ServerUrls):
    database = io_loop.run_sync(lambda: Database.connect(own_urls.database_url, 10))
    yield database
    io_loop.run_sync(lambda: database.execute("delete from email_outbox"))
    io_loop.run_sync(database.close)


@pytest.fixture
def encryption(instance):
    return instance.services.encryption


async def queue(db: Database, encryption, count: int) -> list[str]:
    addresses = [f"person{number:03}@example.com" for number in range(count)]
    for address in addresses:
        await queue_mail(db, encryption, address, "reset", PARAMS)
    return addresses


async def all_sent(db: Database) -> None:
    async with asyncio.timeout(20):
        while await db.fetchval("select exists (select from email_outbox where sent_at is null)"):
            await asyncio.sleep(0.01)


async def test_three_instances_send_each_mail_once(own_urls, own_db, encryption):
    posts = [FakeSender(), FakeSender(), FakeSender()]
    databases = [await Database.connect(own_urls.database_url, 5) for _ in posts]
    boxes = [Outbox(db, encryption, post) for db, post in zip(databases, posts, strict=True)]
    addresses = await queue(own_db, encryption, 60)
    for box in boxes:
        box.start()
    await all_sent(own_db)
    for box, db in zip(boxes, databases, strict=True):
        await box.stop()
        await db.close()
    taken = [mail for post in posts for mail in post.taken]
    assert sorted(address for address, _ in taken) == addresses
    assert len({message_id for _, message_id in taken}) == 60
    rows = await own_db.fetch(LIST_MAILS)
    assert {(row["attempts"], row["payload"], row["failed_at"]) for row in rows} == {(1, None, None)}


async def test_a_new_mail_is_sent_at_once(own_db, encryption, monkeypatch):
    monkeypatch.setattr(service, "POLL_SECONDS", 3600.0)
    post = FakeSender()
    box = Outbox(own_db, encryption, post)
    box.start()
    for number in range(20):
        await queue_mail(own_db, encryption, f"p{number}@example.com", "reset", PARAMS)
        box.wake()
        await all_sent(own_db)
    await box.stop()
    assert len(post.taken) == 20


async def test_retries_are_delayed_longer_each_time(own_db, encryption):
    post = FakeSender(plan=[TemporaryMailError("try later")] * 30)
    box = Outbox(own_db, encryption, post)
    await queue(own_db, encryption, 1)
    waits = []
    for _ in range(30):
        assert await box.send_one()
        waits.append(await own_db.fetchval("select extract(epoch from next_attempt_at - now()) from email_outbox"))
        assert not await box.send_one()
        await own_db.execute(DUE_NOW)
    expected = [10, 20, 40, 80, 160, 320, 640, 1280, 2560, *[3600] * 21]
    assert [float(wait) for wait in waits] == [pytest.approx(wait, rel=0.25) for wait in expected]
    assert await box.send_one()
    assert len(post.taken) == 1


@pytest.mark.parametrize(("template", "hours"), [("reset", CODE_RETRY_HOURS), ("password_changed", RETRY_HOURS)])
async def test_a_mail_waits_for_its_server_as_long_as_it_is_useful(own_db, encryption, template, hours):
    box = Outbox(own_db, encryption, FakeSender(plan=[TemporaryMailError("quota used up")] * 2))
    await queue_mail(own_db, encryption, "p@example.com", template, PARAMS | {"changed_at": "now"})
    for age, failed in [(hours - 0.1, False), (0.2, True)]:
        await own_db.execute("update email_outbox set created_at = created_at - make_interval(secs => $1)", age * 3600)
        assert await box.send_one()
        (row,) = await own_db.fetch(LIST_MAILS)
        assert (row["failed_at"] is not None, row["payload"] is None, row["sent_at"]) == (failed, failed, None)
        await own_db.execute(DUE_NOW)
    assert row["last_error"] == "quota used up"
    assert not await box.send_one()


async def test_permanent_failures_are_not_retried(own_db, encryption):
    box = Outbox(own_db, encryption, FakeSender(plan=[PermanentMailError("no such mailbox")]))
    await queue(own_db, encryption, 1)
    await own_db.execute(
        "insert into email_outbox (recipient, template, payload) values ('z@example.com', 'reset', 'x')"
    )
    assert [await box.send_one() for _ in range(3)] == [True, True, False]
    refused, damaged = await own_db.fetch(LIST_MAILS)
    assert (refused["last_error"], refused["payload"]) == ("no such mailbox", None)
    assert damaged["failed_at"] is not None


async def test_a_mail_with_a_newer_key_is_left_to_instances_with_this_key(own_db, encryption):
    """While instances are restarted with another key, one by one."""
    await queue(own_db, Encryption(bytes(32)), 1)
    post = FakeSender()
    assert await Outbox(own_db, encryption, post).send_one()
    assert post.taken == []
    await own_db.execute(DUE_NOW)
    assert await Outbox(own_db, Encryption(bytes(32)), post).send_one()
    assert len(post.taken) == 1


async def test_a_sent_mail_is_recorded_after_an_outage_of_the_database(own_db, encryption, monkeypatch):
    """Otherwise it would be sent again."""
    monkeypatch.setattr(service, "RECORD_RETRY_SECONDS", 0.0)
    post = FakeSender()
    box = Outbox(own_db, encryption, post)
    await queue(own_db, encryption, 1)
    execute, outages = Database.execute, 5

    async def flaky(self, sql, *args):
        nonlocal outages
        if sql == MARK_SENT and outages:
            outages -= 1
            raise DatabaseUnavailable
        return await execute(self, sql, *args)

    monkeypatch.setattr(Database, "execute", flaky)
    assert await box.send_one()
    await own_db.execute(CLAIMS_RUN_OUT)
    assert not await box.send_one()
    assert len(post.taken) == 1


async def test_a_stop_waits_for_mails_being_sent(own_db, encryption):
    on_its_way, arrived = asyncio.Event(), asyncio.Event()

    class Slow(FakeSender):
        async def send(self, mail, message_id):
            on_its_way.set()
            await arrived.wait()
            await super().send(mail, message_id)

    post = Slow()
    box = Outbox(own_db, encryption, post)
    await queue(own_db, encryption, 1)
    box.start()
    await on_its_way.wait()
    stop = asyncio.create_task(box.stop())
    await asyncio.sleep(0)
    arrived.set()
    await stop
    assert len(post.taken) == 1
    assert (await own_db.fetch(LIST_MAILS))[0]["sent_at"] is not None


async def test_a_late_failure_does_not_change_a_mail_sent_by_another(own_db, encryption):
    frozen = asyncio.Event()

    class Frozen(FakeSender):
        async def send(self, mail, message_id):
            await frozen.wait()
            raise PermanentMailError("too late")

    late = Outbox(own_db, encryption, Frozen())
    await queue(own_db, encryption, 1)
    sending = asyncio.create_task(late.send_one())
    async with asyncio.timeout(5):
        while not await own_db.fetchval("select locked_until from email_outbox"):
            await asyncio.sleep(0)
    await own_db.execute(CLAIMS_RUN_OUT)
    post = FakeSender()
    assert await Outbox(own_db, encryption, post).send_one()
    frozen.set()
    await sending
    (row,) = await own_db.fetch(LIST_MAILS)
    assert (row["failed_at"], len(post.taken)) == (None, 1)
    assert row["sent_at"] is not None


async def test_a_mail_that_kills_every_sender_is_abandoned(own_db, encryption):
    class Dying(FakeSender):
        async def send(self, mail, message_id):
            await super().send(mail, message_id)
            raise DatabaseUnavailable  # neither success nor failure is recorded

    post = Dying()
    await queue(own_db, encryption, 1)
    claimed = True
    while claimed:
        with suppress(DatabaseUnavailable):
            claimed = await Outbox(own_db, encryption, post).send_one()
        await own_db.execute(CLAIMS_RUN_OUT)
    assert len(post.taken) == MAX_LOST_SENDERS


class Holding(Inbox):
    """A mail server that delays the first mail until the test continues: before it accepts the mail, or after."""

    def __init__(self, keep_first: bool) -> None:
        super().__init__()
        self.keep_first = keep_first
        self.first = True
        self.held = threading.Event()

    async def handle_DATA(self, server, session, envelope):
        if self.first:
            self.first = False
            if self.keep_first:
                await super().handle_DATA(server, session, envelope)
            self.held.set()
            await asyncio.Event().wait()
        return await super().handle_DATA(server, session, envelope)


@pytest.mark.parametrize("keep_first", [pytest.param(False, marks=long_test()), True])
async def test_a_sender_is_killed_in_the_middle(own_urls, own_db, encryption, data_dir, keep_first):
    """A process is killed (-9) while it waits for the mail server. Three others take over: the mail arrives once.

    It arrives twice, with one Message-ID, only if the mail server had accepted it before the kill.
    """
    inbox = Holding(keep_first)
    await queue(own_db, encryption, 1)
    with smtp_server(inbox) as port:
        mail_server = {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": str(port), "EMAIL_FROM": "no-reply@encer.example"}
        with server_process(own_urls, data_dir, **mail_server) as dying:
            assert await asyncio.to_thread(inbox.held.wait, 20)
            dying.kill()
        (row,) = await own_db.fetch(LIST_MAILS)
        assert (row["attempts"], row["sent_at"]) == (1, None)
        boxes = [Outbox(own_db, encryption, SmtpSender("127.0.0.1", port, FROM)) for _ in range(3)]
        assert [await box.send_one() for box in boxes] == [False] * 3  # its process may still run
        await own_db.execute(CLAIMS_RUN_OUT)
        assert sorted(await asyncio.gather(*(box.send_one() for box in boxes))) == [False, False, True]
        await all_sent(own_db)
    ids = Counter(message["Message-ID"] for message in inbox.messages)
    assert len(ids) == 1
    assert list(ids.values()) == [2 if keep_first else 1]
