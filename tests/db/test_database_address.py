"""DATABASE_URL as hosting providers and Prisma write it: both drivers accept it, or it is refused before connecting."""

import asyncio
import socket
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from db.address import Address, AddressError
from db.connect import CONNECT_FAILURES, Connector
from db.packaged.servers import ServerUrls, free_port
from db.pool import Database
from tests.drills.proxy import TcpProxy
from tests.helpers.processes import ROOT, ServerProcess, server_process

SECRET = "verysecret"
WHERE = ("host", "port", "user", "password", "dbname")


@pytest.fixture
def folder(servers: ServerUrls) -> str:
    """Return the folder of PostgreSQL's socket."""
    return servers.database_url.partition("host=")[2]


@pytest.fixture
def authorities(tmp_path, monkeypatch) -> str:
    """Return a file of certificate authorities, also on machines that have none."""
    file = tmp_path / "authorities.crt"
    file.touch()
    monkeypatch.setattr("db.address.find_authorities", lambda: str(file))
    return str(file)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:pass@host.example.com:5433/name",
        "postgres://user@host/name",
        "postgresql://user:p%40%3A%2F%3F%23ss@host/name",
        "postgresql://user:pass@[2001:db8::1]:5433/name",
        "postgresql://user:pass@a.example.com:5432,b.example.com:5433/name",
        "postgresql://user:pass@a.example.com,b.example.com/name?port=6432",
        "postgresql://user:pass@%2Fvar%2Frun%2Fpostgresql/name",
        "postgresql://user:pass@/name?host=/cloudsql/project:region:instance",
        "postgresql://user:pass@localhost:5432/name?host=/cloudsql/project:region:instance",
        "postgresql://host/name?user=user@server&password=a+b",
        "postgresql://user:pass@host/na%20me?sslmode=require&connect_timeout=15&application_name=web&options=-c%20jit%3Doff",
        "postgresql://user:pass@host/name?keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=5",
        "postgresql://user:pass@host/name?sslmode=disable&gssencmode=disable&channel_binding=disable",
    ],
)
def test_an_address_has_the_same_meaning_as_for_libpq(url: str):
    read, ours = conninfo_to_dict(url), Address.parse(url).for_psycopg()
    ports = str(read.get("port", "5432")).split(",")
    hosts = str(read["host"]).split(",")
    expected = {**read, "port": ",".join(ports if len(ports) == len(hosts) else ports * len(hosts))}
    assert {name: str(ours[name]) for name in expected} == expected


HOSTERS = {
    "Neon": "sslmode=prefer&channel_binding=prefer",
    "Supabase for Prisma": "pgbouncer=true&connection_limit=1",
    "Vercel": "pgbouncer=true&connect_timeout=15&sslmode=prefer&supa=base-pooler.x",
    "Prisma": "schema=public&connection_limit=5&connect_timeout=10&sslaccept=accept_invalid_certs"
    "&statement_cache_size=0",
    "node-postgres": "ssl=false&uselibpqcompat=true&application_name=web",
    "libpq": "connect_timeout=10&keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=5"
    "&tcp_user_timeout=20000&target_session_attrs=read-write&client_encoding=utf8&gssencmode=disable&sslcompression=0"
    "&options=-c%20geqo%3Doff&fallback_application_name=other",
    "a failed-over pair": "target_session_attrs=primary&load_balance_hosts=disable",
    "an empty value": "sslmode=&schema=public",
}


@pytest.mark.parametrize("hoster", HOSTERS)
async def test_both_drivers_connect_with_it(folder: str, hoster: str):
    address = Address.parse(f"postgresql://encer:{SECRET}@localhost/encer?host={folder}&{HOSTERS[hoster]}")
    conn = await Connector(address)()
    with psycopg.connect(**address.for_psycopg(), autocommit=True) as other:
        for name in ("application_name", "geqo", "search_path"):
            row = other.execute(f"show {name}").fetchone()
            if name != "application_name" or address.session:
                assert await conn.fetchval(f"show {name}") == (row and row[0]), name
    await conn.close()


async def test_pool_options_of_the_address_are_used(folder: str):
    url = f"postgresql://encer@/encer?host={folder}&connection_limit=2&statement_cache_size=0&application_name=web"
    database = await Database.connect(url, 10)
    assert database.pool.get_max_size() == 2
    async with database.connection() as conn:
        assert await conn.fetchval("select count(*) from pg_prepared_statements where name like '%asyncpg%'") == 0
        assert await conn.fetchval("show application_name") == "web"
    await database.close()


async def test_keep_alive_reaches_the_sockets_of_both_drivers(folder: str):
    proxy = await TcpProxy(f"{folder}/.s.PGSQL.5432").start()
    given = "keepalives_idle=33&keepalives_interval=7&keepalives_count=4"
    address = Address.parse(f"postgresql://encer@127.0.0.1:{proxy.port}/encer?sslmode=disable&{given}")
    conn = await Connector(address)()
    other = await psycopg.AsyncConnection.connect(**address.for_psycopg())
    theirs = socket.socket(fileno=other.fileno())
    for one in (conn._transport.get_extra_info("socket"), theirs):
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 7
        assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 4
    theirs.detach()
    await other.close()
    await conn.close()
    await proxy.stop()


async def test_the_second_host_is_used_when_the_first_is_down_or_silent(folder: str):
    silent, good = TcpProxy(("127.0.0.1", 1)), TcpProxy(f"{folder}/.s.PGSQL.5432")
    await silent.start()
    await good.start()
    silent.freeze()
    for first in (free_port(), silent.port):
        url = f"postgresql://encer@127.0.0.1:{first},127.0.0.1:{good.port}/encer?sslmode=disable&connect_timeout=2"
        database = await Database.connect(url, 2)
        assert await database.fetchval("select 1") == 1
        assert database.connector.first == 1  # the next connection begins with the host that answers
        await database.close()
    for proxy in (silent, good):
        await proxy.stop()


async def test_a_request_that_times_out_on_a_silent_host_makes_others_try_the_next(folder: str):
    silent = await TcpProxy(("127.0.0.1", 1)).start()
    silent.freeze()
    connector = Connector(Address.parse(f"postgresql://encer@127.0.0.1:{silent.port},localhost/encer?sslmode=disable"))
    asking = asyncio.create_task(connector())
    while not silent.links and not silent.tasks:
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert connector.first == 1
    await silent.stop()


async def test_a_standby_is_skipped(folder: str):
    """Of two hosts the writable one is used, unless the address has `any`."""
    options = quote("-c default_transaction_read_only=on")
    hosts = f"host={folder},{folder}"
    standby = Connector(Address.parse(f"postgresql://encer@/encer?{hosts}&options={options}"))
    with pytest.raises(CONNECT_FAILURES, match="target"):
        await standby()
    await (await Connector(Address.parse(f"postgresql://encer@/encer?{hosts}"))()).close()


REFUSED = [
    "schema=private", "sslmode=always", "channel_binding=maybe", "connect_timeout=soon", "keepalives_idle=-1",
    "keepalives=2", "target_session_attrs=read-only", "target_session_attrs=standby", "gssencmode=require",
    "load_balance_hosts=random", "hostaddr=10.0.0.1", "service=main", "require_auth=scram-sha-256",
    "client_encoding=latin1", "replication=database", "pool_timeout=10", "socket_timeout=10", "pgbouncer=yes",
    "connection_limit=0", "sslidentity=x.p12", "sslrootcert=/nowhere/root.crt", "sslcert=/nowhere/a.crt",
    "sslmode=verify-ca", "sslnegotiation=direct", "channel_binding=require&sslmode=disable",
]  # fmt: skip


@pytest.mark.parametrize("parameters", REFUSED)
def test_unsupported_options_are_named(parameters: str, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(AddressError) as refused:
        Address.parse(f"postgresql://user:{SECRET}@host/name?{parameters}")
    assert parameters.partition("=")[0] in str(refused.value)
    assert SECRET not in str(refused.value) and "host/name" not in str(refused.value)


def test_all_unsupported_options_are_named_together():
    with pytest.raises(AddressError) as refused:
        Address.parse("postgresql://user@host/name?" + "&".join(["schema=x", "service=y", "keepalives=2", "secret=z"]))
    assert [part.split()[0] for part in str(refused.value).split("; ")] == ["schema", "service", "keepalives", "one"]
    assert "secret" not in str(refused.value)  # it may be the end of a password with a question mark


@pytest.mark.parametrize(
    "url",
    [
        "", "host=h dbname=d", "mysql://u@h/d", "jdbc:postgresql://h/d", "prisma://h/?api_key=x", "postgresql+asyncpg://h/d",
        '"postgresql://h/d"', "postgresql://u:a#b@h/d", "postgresql://u:a/b@h/d", "postgresql://u:a?b@h/d",
        "postgresql://u:a[b@h/d", "postgresql://u:a b@h/d", "postgresql://u:a%00b@h/d", "postgresql://u@h:port/d",
        "postgresql://u@h:0/d", "postgresql://u@h:70000/d", "postgresql://u@a,,b/d", "postgresql://u@a:1,b:2/d?port=1,2,3",
        "postgresql://u@h/d/e", "postgresql://u@h/d?sslmode",
    ],
)  # fmt: skip
def test_invalid_addresses_are_refused(url: str):
    with pytest.raises(AddressError):
        Address.parse(url)


def test_the_system_authorities_serve_both_drivers(authorities: str, monkeypatch, tmp_path):
    """psycopg's libpq has no authorities, and asyncpg has no option `system`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("sslmode=verify-full&sslrootcert=system", "sslmode=verify-full", "sslmode=require&sslaccept=strict"):
        address = Address.parse(f"postgresql://u@h/d?{given}")
        for tls in (address.for_psycopg(), address.tls):
            assert (tls["sslmode"], tls["sslrootcert"]) == ("verify-full", authorities)


def test_channel_binding_becomes_a_verified_certificate_for_asyncpg(authorities: str, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    neon = Address.parse("postgresql://u@h/d?sslmode=require&channel_binding=require")
    assert neon.for_psycopg()["channel_binding"] == "require"
    assert (neon.tls["sslmode"], neon.tls["sslrootcert"]) == ("verify-full", authorities)
    own = Address.parse(f"postgresql://u@h/d?channel_binding=require&sslrootcert={authorities}")
    assert (own.tls["sslmode"], own.tls["sslrootcert"]) == ("verify-ca", authorities)


async def test_a_server_starts_with_it(folder: str, servers: ServerUrls, data_dir, api):
    parameters = "&".join([HOSTERS["libpq"], "schema=public&channel_binding=prefer&connection_limit=3&sslmode=prefer"])
    url = f"postgres://encer:{SECRET}@localhost:5432/encer?host={folder}&{parameters}"

    def start() -> None:
        with server_process(servers, data_dir, DATABASE_URL=url):
            pass

    await asyncio.to_thread(start)


def test_nothing_is_changed_by_a_server_that_refuses_its_address(folder: str, servers: ServerUrls, data_dir):
    with psycopg.connect(servers.database_url, autocommit=True) as conn:
        conn.execute("drop database if exists untouched")
        conn.execute("create database untouched")
    url = f"postgresql://encer:{SECRET}@/untouched?host={folder}&schema=public&load_balance_hosts=random&foo=1"
    server = ServerProcess(servers, data_dir, DATABASE_URL=url)
    output = server.process.communicate(timeout=60)[0].decode()
    assert (server.process.returncode, "load_balance_hosts" in output, SECRET in output) == (2, True, False)
    with psycopg.connect(servers.database_url.replace("/encer?", "/untouched?"), autocommit=True) as conn:
        assert conn.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone() == (0,)
    with psycopg.connect(servers.database_url, autocommit=True) as conn:
        conn.execute("drop database untouched")


def test_drivers_get_only_parsed_addresses():
    """Programs connect only through the module that reads addresses."""
    found = [
        path.name
        for path in (ROOT / "db").glob("*.py")
        if any(call in path.read_text() for call in ("asyncpg.connect(", "psycopg.connect(", "create_pool(", "Pool("))
    ]
    assert sorted(found) == ["connect.py", "migrate.py", "pool.py"]
