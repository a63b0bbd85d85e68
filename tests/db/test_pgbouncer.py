"""Migrations, chat and jobs through the distribution's pgbouncer in transaction mode."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from db.address import Address
from db.connect import LIMITS, CannotConnect, Connector, wait_for_database
from db.migrate import migrate, rollback
from db.migrations import migration_ids
from db.packaged.servers import ServerUrls
from db.packaged.system_user import system_user
from db.pool import Database
from jobs.table import JOBS
from server import Instance
from tests.conftest import started
from tests.helpers.clients import Api
from tests.helpers.factories import Person
from tests.helpers.jobs import finished
from tests.helpers.processes import server_process
from tests.helpers.programs import needs_program
from tests.helpers.servers.pgbouncer import POOLER_CONNECTIONS, Pgbouncer, running_pgbouncer
from tests.helpers.servers.tls import Authority

pytestmark = needs_program("pgbouncer", package="pgbouncer")

SENDERS = 40  # concurrent ones: more than the pooler has connections to PostgreSQL


@pytest.fixture(scope="module")
def pgbouncer(servers: ServerUrls) -> Iterator[Pgbouncer]:
    with running_pgbouncer(servers) as pgbouncer:
        yield pgbouncer


@pytest.fixture(scope="module", params=["", "pgbouncer=true"], ids=["found out", "parameters"])
def pooled(request, io_loop, settings, servers: ServerUrls, pgbouncer: Pgbouncer) -> Iterator[Instance]:
    """Start an instance of the server behind pgbouncer."""
    yield from started(io_loop, settings, ServerUrls(pgbouncer.url(request.param), servers.redis_url))


@pytest.fixture
def pooled_api(pooled: Instance) -> Api:
    return Api(pooled)


@pytest.fixture
def fresh(servers: ServerUrls, pgbouncer: Pgbouncer) -> Iterator[str]:
    """Return the address of an empty database behind the pooler."""
    with psycopg.connect(servers.database_url, autocommit=True) as conn:
        conn.execute("drop database if exists pooled")
        conn.execute("create database pooled")
        yield pgbouncer.url(database="pooled")
        conn.execute("drop database pooled with (force)")


async def send(api: Api, conversation_id: str, user: Person, text: str) -> int:
    body = {"content": text, "clientMessageId": text}
    answer = await api.post(f"/chat/conversations/{conversation_id}/messages", body, user)
    assert answer.status == 201, answer
    return answer.data["seq"]


async def test_chat(pooled_api: Api, other_api: Api, people):
    hanako, sakura = await people.influencer("Hanako"), await people.salon("Salon Sakura")
    asked = await pooled_api.post("/connections/request", {"receiverId": sakura.id}, hanako)
    accepted = await pooled_api.patch(f"/connections/requests/{asked.data['id']}/accept", user=sakura)
    assert accepted.status == 200, accepted
    conversation_id = accepted.body["conversationId"]
    near, far = await pooled_api.socket(sakura), await other_api.socket(sakura)
    await near.join(conversation_id, 0)
    await far.join(conversation_id, 0)
    texts = [f"text {n}" for n in range(SENDERS)]
    sent = [send(pooled_api, conversation_id, (hanako, sakura)[n % 2], text) for n, text in enumerate(texts)]
    assert sorted(await asyncio.gather(*sent)) == list(range(1, SENDERS + 1))
    acks = [await near.ask("send_message", {"conversationId": conversation_id, "content": "by socket"}) for _ in "123"]
    assert [ack["event"] for ack in acks] == ["ack"] * 3
    read = await near.ask("mark_read", {"conversationId": conversation_id, "seq": SENDERS + 3})
    assert read["data"] == {"unreadCount": 0}
    for socket in (near, far):
        messages = [await socket.expect("message_sent") for _ in range(SENDERS + 3)]
        assert [message["seq"] for message in messages] == list(range(1, SENDERS + 4))
        await socket.close()
    listed = await pooled_api.get(f"/chat/conversations/{conversation_id}/messages?limit=100", hanako)
    assert sorted(message["content"] for message in listed.data) == sorted([*texts, *["by socket"] * 3])


async def test_jobs(pooled_api: Api, pooled: Instance, people):
    admin = await people.admin()
    for job in JOBS:
        answer = await pooled_api.post(f"/admin/jobs/{job.name}/run", user=admin)
        assert answer.status == 202, answer
    await finished(pooled.jobs)
    runs = {job["name"]: job["lastRuns"][0] for job in (await pooled_api.get("/admin/jobs", admin)).data}
    assert {name: (run["status"], run["error"]) for name, run in runs.items()} == {
        job.name: ("SUCCEEDED", None) for job in JOBS
    }


async def test_each_transaction_sets_its_limits(pooled: Instance, db: Database):
    """They equal those of a direct connection, and none stays in the sessions of the pooler."""
    for name in LIMITS:
        expected = await db.fetchval(f"show {name}")
        async with pooled.db.transaction() as tx:
            assert await tx.fetchval(f"show {name}") == expected
        assert {await pooled.db.fetchval(f"show {name}") for _ in range(10)} != {expected}


def test_migrations(fresh: str):
    """More instances migrate at the same time than the pooler has connections."""
    instances = POOLER_CONNECTIONS + 3
    with ThreadPoolExecutor(instances) as threads:
        assert sum(threads.map(migrate, [fresh] * instances)) == len(migration_ids())
    assert migrate(fresh) == 0
    assert rollback(fresh, lose_data=True) == len(migration_ids())


async def test_a_server_starts_on_an_empty_database(fresh: str, servers: ServerUrls, data_dir, api: Api):
    def start_and_stop() -> None:
        with server_process(ServerUrls(fresh, servers.redis_url), data_dir):
            pass

    await asyncio.to_thread(start_and_stop)
    assert await asyncio.to_thread(migrate, fresh) == 0


@pytest.mark.parametrize(("parameters", "pooled"), [("", True), ("pgbouncer=true", True), ("pgbouncer=false", False)])
async def test_a_pooler_is_detected_unless_the_address_says_it(pgbouncer: Pgbouncer, parameters: str, pooled: bool):
    connector = Connector(Address.parse(pgbouncer.url(parameters)))
    await connector.detect_pooler()
    assert connector.pooled == pooled


async def test_without_a_pooler_sessions_keep_statements_and_settings(db: Database):
    assert not db.connector.pooled
    async with db.connection() as conn:
        # The statement finds itself. A count of all would stay the same once asyncpg's cache of 100 is full.
        itself = "select count(*) from pg_prepared_statements where statement like '%which finds itself%'"
        assert await conn.fetchval(itself) == 1
        assert await conn.fetchval("show jit") == "off"


async def test_a_start_waits_for_postgresql_behind_a_pooler(servers: ServerUrls, monkeypatch):
    """The pooler still accepts connections when PostgreSQL is down, so the start must run a statement."""
    with running_pgbouncer(servers) as pgbouncer:
        await wait_for_database(pgbouncer.url(), asyncio.Event(), seconds=0)
        pgbouncer.cut_off()
        conn = await Connector(Address.parse(pgbouncer.url()))()
        await conn.close()
        monkeypatch.setattr("db.connect.CONNECT_SECONDS", 0.5)
        with pytest.raises(CannotConnect, match=r"^The database does not answer: "):
            await wait_for_database(pgbouncer.url(), asyncio.Event(), seconds=0)


@pytest.fixture
def certificate() -> Iterator[Authority]:
    """Create a certificate of `localhost` in a folder that pgbouncer can read."""
    with tempfile.TemporaryDirectory(prefix="encer-tls-") as folder:
        authority = Authority(Path(folder))
        authority.server("localhost")
        user = system_user()
        for path in (Path(folder), *Path(folder).iterdir()):
            if user:
                shutil.chown(path, user.pw_uid)
        yield authority


async def test_both_drivers_use_tls(servers: ServerUrls, certificate: Authority):
    """pgbouncer is the server, because the packaged PostgreSQL is built without TLS."""
    file = certificate.root.with_name("localhost.pem")
    options = f"client_tls_sslmode = require\nclient_tls_cert_file = {file}\nclient_tls_key_file = {file}\n"
    with running_pgbouncer(servers, options) as pgbouncer:
        verified = f"sslrootcert={certificate.root}&sslmode=verify-full"
        by_name, by_number = pgbouncer.url(verified).replace("127.0.0.1", "localhost"), pgbouncer.url(verified)
        for url in (by_name, pgbouncer.url("sslmode=require"), pgbouncer.url("ssl=true"), pgbouncer.url()):
            await wait_for_database(url, asyncio.Event(), seconds=0)
            with psycopg.connect(**Address.parse(url).for_psycopg()) as conn:
                assert conn.execute("select 1").fetchone() == (1,)
        with pytest.raises(CannotConnect, match=r"refuses the connection: its certificate is not accepted \("):
            await wait_for_database(by_number, asyncio.Event(), seconds=0)
        with pytest.raises(psycopg.OperationalError, match="certificate"):
            psycopg.connect(**Address.parse(by_number).for_psycopg())
        with pytest.raises(psycopg.OperationalError, match="channel binding"):
            psycopg.connect(**Address.parse(by_name + "&channel_binding=require").for_psycopg())
