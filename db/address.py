"""Parses DATABASE_URL as hosters and Prisma write it, and returns it in the forms of psycopg, yoyo and asyncpg.
REDIS_URL is checked here too.

Parameters: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS and
https://www.prisma.io/docs/orm/overview/databases/postgresql#arguments. An unsupported parameter is rejected by name
before a connection is opened. No error text contains a part of the value, because the value contains the password.
This module imports nothing of the project, because settings.py imports it.
"""

import os
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

FORM = (
    "must look like postgresql://user:password@host:5432/database; "
    "write @ : / ? # [ ] % and spaces in the user and the password as %40, %3A and so on"
)
# Tried if the address has no host: where a local server listens. libpq and asyncpg have different defaults.
LOCAL_HOSTS = ("/run/postgresql", "/var/run/postgresql", "/tmp", "localhost")  # noqa: S108  where a socket is
HOST = re.compile(r"[\w-]+(\.[\w-]+)*\.?|[0-9a-f:.]*:[0-9a-f:.]*(%[\w.-]+)?|/.+", re.ASCII | re.IGNORECASE)
HOST_AND_PORT = re.compile(r"(?:\[([^\]]*)\]|([^:]*))(?::(.*))?")
# Files of certificate authorities: libpq of psycopg brings none, and asyncpg needs a file too.
AUTHORITIES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
CONNECT_SECONDS = 10  # of psycopg, unless the address sets connect_timeout; the pool has its own

FILES = {"sslcert", "sslkey", "sslrootcert", "sslcrl"}
# Both drivers have these under the same names; asyncpg only as parameters of an address.
COMMON = FILES | {
    "sslmode",
    "sslpassword",
    "sslnegotiation",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "passfile",
    "krbsrvname",
    "gsslib",
    "target_session_attrs",
}
KEEPALIVE = {"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"}
POOL = {"connect_timeout", "connection_limit", "statement_cache_size"}
OTHERS = {
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "database",
    "application_name",
    "fallback_application_name",
    "options",
    "channel_binding",
    "pgbouncer",
}

TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
# Parameters with a fixed set of values; some of them have no effect.
VALUES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full", "no-verify"),
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": TLS_VERSIONS,
    "ssl_max_protocol_version": TLS_VERSIONS,
    "channel_binding": ("disable", "prefer", "require"),
    "target_session_attrs": ("any", "primary", "read-write"),  # not standbys, because the server writes
    "pgbouncer": ("true", "false"),
    "keepalives": ("0", "1"),
    # Of Prisma, JDBC, node-postgres and Supabase.
    "schema": ("public",),  # to use another one, set the search_path of the database role
    "ssl": ("true", "false"),
    "sslaccept": ("accept_invalid_certs", "strict"),
    "uselibpqcompat": ("true",),
    "supa": ("base-pooler.x",),
    "workaround": ("supabase-pooler.vercel",),
    # Of libpq, with the values that equal the behaviour without them.
    "client_encoding": ("utf8", "UTF8", "utf-8", "UTF-8", "auto"),
    "gssencmode": ("disable", "prefer"),
    "gsslib": ("gssapi",),
    "load_balance_hosts": ("disable",),
    "replication": ("false", "off", "no", "0"),
    "sslcertmode": ("allow",),
    "sslcompression": ("0",),
    "sslsni": ("1",),
}
# Parameters that not both drivers support, and what to do instead. Error texts contain only names of these tables: an
# unknown name may be the end of a password with a question mark.
REFUSED = {
    "hostaddr": "use host",
    "service": "write the host, the user and the database into the address",
    "servicefile": "write the host, the user and the database into the address",
    "pool_timeout": "leave it out: a request waits at most 2 seconds for a connection",
    "socket_timeout": "leave it out: a statement takes at most 5 seconds",
    "sslidentity": "use sslcert and sslkey",
    "sslcrldir": "use sslcrl",
    "requiressl": "use sslmode",
    "require_auth": "use channel_binding",
    "requirepeer": "leave it out",
    "krbdelegation": "leave it out",
    "gssdelegation": "leave it out",
    "min_protocol_version": "leave it out",
    "max_protocol_version": "leave it out",
    "sslkeylogfile": "leave it out",
}
REDIS_FORM = (
    "must look like redis://:password@host:6379/0; write @ : / ? # % in the password as %40, %3A and so on; "
    "of parameters, only those of TLS (ssl_…), client_name, health_check_interval and time-outs are possible"
)
NUMBERS = KEEPALIVE | POOL
KNOWN = COMMON | NUMBERS | OTHERS | VALUES.keys()
NUMBER = re.compile(r"\d{1,9}", re.ASCII)
DEFAULT_PORT = 5432

# What REDIS_URL may contain; the rest is set by the clients (services/redis_client.py, realtime/).
REDIS_PARAMETERS = {
    "host",
    "port",
    "path",
    "db",
    "username",
    "password",
    "client_name",
    "health_check_interval",
    "socket_timeout",
    "socket_connect_timeout",
    "socket_keepalive",
    "ssl_cert_reqs",
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_keyfile_password",
    "ssl_check_hostname",
    "ssl_min_version",
}


class AddressError(ValueError):
    """The address is invalid. The text names the faults, but contains no value."""


@dataclass(frozen=True, repr=False)  # a repr would show the password
class Address:
    """A parsed DATABASE_URL. `hosts` are names, IP addresses and folders of Unix sockets, each with its port;
    `parameters` are checked and have libpq's names; `tls` are those that asyncpg supports."""

    hosts: tuple[tuple[str, int], ...]
    user: str | None
    password: str | None
    database: str | None
    parameters: dict[str, str]
    tls: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Parse an address. Raises AddressError, which lists all faults."""
        login, written, database, query = split(text.strip())
        given = read_query(query)
        faults = find_faults(given)
        if faults:
            raise AddressError("; ".join(faults))
        hosts = read_hosts(written, given)
        user, _, password = login.partition(":")
        parameters = {**given, **read_tls(given)}
        if len(hosts) > 1 and (written or "host" in given):
            parameters.setdefault("target_session_attrs", "read-write")  # skips standbys
        return cls(
            hosts,
            given.get("user", unquote(user)) or None,
            given.get("password", unquote(password)) or None,
            given.get("dbname", given.get("database", unquote(database))) or None,
            parameters,
            bind_to_certificate(parameters),
        )

    @property
    def pgbouncer(self) -> bool | None:
        """Return whether the address says that a pooler is in front of PostgreSQL; None if it says nothing."""
        flag = self.parameters.get("pgbouncer")
        return None if flag is None else flag == "true"

    @property
    def session(self) -> dict[str, str]:
        """Return the parameters that PostgreSQL gets when a session begins."""
        name = self.parameters.get("application_name") or self.parameters.get("fallback_application_name")
        settings = {"application_name": name, "options": self.parameters.get("options")}
        return {name: value for name, value in settings.items() if value}

    def number(self, name: str) -> int | None:
        """Return a numeric parameter, or None. To libpq, connect_timeout 0 means no bound; here, the default bound."""
        return int(self.parameters[name]) if name in self.parameters else None

    def for_psycopg(self) -> dict[str, Any]:
        """Return the arguments of `psycopg.connect`, also for yoyo."""
        # Prepared statements belong to a session, and a pooler gives each transaction another session.
        return self.for_libpq() | {"prepare_threshold": None}

    def for_libpq(self) -> dict[str, Any]:
        """Return connection parameters by libpq's names."""
        names = COMMON | KEEPALIVE | {"channel_binding", "gssencmode"}
        arguments = {
            "host": ",".join(host for host, _ in self.hosts),
            "port": ",".join(str(port) for _, port in self.hosts),
            "user": self.user,
            "password": self.password,
            "dbname": self.database,
            "connect_timeout": self.number("connect_timeout") or CONNECT_SECONDS,
            **{name: value for name, value in self.parameters.items() if name in names},
            **self.session,
        }
        return {name: value for name, value in arguments.items() if value is not None}

    def for_asyncpg(self) -> dict[str, Any]:
        """Return the arguments of `asyncpg.connect` except the host: db/connect.py tries `hosts` in turn."""
        return {
            "dsn": f"postgresql://?{urlencode(self.tls)}",
            "user": self.user,
            "password": self.password,
            "database": self.database,
        }


def split(text: str) -> tuple[str, str, str, str]:
    """Return login, hosts, database and query of an address, still percent-encoded."""
    if not re.match(r"postgres(ql)?://", text, re.IGNORECASE):
        raise AddressError("must begin with postgresql:// or postgres://")
    try:
        parts = urlsplit(text)
    except ValueError:  # brackets
        raise AddressError(FORM) from None
    login, _, hosts = parts.netloc.rpartition("@")
    database = parts.path.removeprefix("/")
    # A / or ? or # in a password ends the part with the host too early.
    if re.search(r"[\s#]|%00", text) or "/" in database or "@" in database:
        raise AddressError(FORM)
    return login, hosts, database, parts.query


def read_query(query: str) -> dict[str, str]:
    """Return the parameters as libpq reads them: `+` stays, the last of several applies, an empty value is absent."""
    pairs = [piece.partition("=") for piece in query.split("&") if piece]
    if not all(equals for _, equals, _ in pairs):
        raise AddressError(FORM)
    return {unquote(name): unquote(value) for name, _, value in pairs if value}


def find_faults(given: dict[str, str]) -> list[str]:
    """Return a sentence for each parameter that is not supported or has an invalid value."""
    faults = []
    for name, value in given.items():
        if name in REFUSED:
            faults.append(f"{name} is not supported: {REFUSED[name]}")
        elif name in VALUES and value not in VALUES[name]:
            faults.append(f"{name} can only be {' or '.join(VALUES[name])}")
        elif name in NUMBERS and not NUMBER.fullmatch(value):
            faults.append(f"{name} must be a whole number")
        elif name in FILES and (name, value) != ("sslrootcert", "system") and not os.access(value, os.R_OK):
            faults.append(f"{name} names a file that cannot be read")
        elif name not in KNOWN:
            faults.append("one parameter is unknown to libpq and Prisma")
    if given.get("connection_limit") == "0":
        faults.append("connection_limit must be at least 1")
    if given.get("sslnegotiation") == "direct" and given.get("sslmode") not in ("require", "verify-ca", "verify-full"):
        faults.append("sslnegotiation direct needs sslmode require, verify-ca or verify-full")
    return faults


def read_hosts(written: str, given: dict[str, str]) -> tuple[tuple[str, int], ...]:
    """Return hosts with ports. As in libpq, `host` and `port` of the query win: `…@localhost/db?host=/cloudsql/…`."""
    found = [HOST_AND_PORT.fullmatch(part) for part in written.split(",")] if written else []
    hosts = [unquote(match[1] or match[2]) if match else "" for match in found] or list(LOCAL_HOSTS)
    ports = [unquote(match[3] or "") if match else "" for match in found] or [""]
    if "host" in given:
        hosts = given["host"].split(",")
    if "port" in given:
        ports = given["port"].split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    if len(hosts) != len(ports):
        raise AddressError("must name one port, or as many ports as hosts")
    if not all(HOST.fullmatch(host) for host in hosts) or not all(is_port(port) for port in ports):
        raise AddressError(FORM)
    return tuple((host, int(port or DEFAULT_PORT)) for host, port in zip(hosts, ports, strict=True))


def is_port(text: str) -> bool:
    return not text or bool(NUMBER.fullmatch(text) and 0 < int(text) < 65536)


def read_tls(given: dict[str, str]) -> dict[str, str]:
    """Return `sslmode` and `sslrootcert` with values that both drivers support."""
    mode = given.get("sslmode") or {"true": "require", "false": "disable"}.get(given.get("ssl", ""))
    root = given.get("sslrootcert")
    if given.get("sslaccept") == "strict" or root == "system":
        mode = "verify-full"
    if root == "system" or (mode == "verify-full" and root is None and not has_own_authority()):
        root = find_authorities()
    if mode == "verify-ca" and root is None and not has_own_authority():
        raise AddressError("sslmode verify-ca needs sslrootcert")
    if mode == "no-verify":
        mode = "require"
    return {name: value for name, value in (("sslmode", mode), ("sslrootcert", root)) if value}


def has_own_authority() -> bool:
    """Return whether libpq and asyncpg find a root certificate at their default places, without `sslrootcert`."""
    return "PGSSLROOTCERT" in os.environ or Path("~/.postgresql/root.crt").expanduser().exists()


def find_authorities() -> str:
    """Return the file of certificate authorities that this machine trusts."""
    for path in (ssl.get_default_verify_paths().cafile, *AUTHORITIES):
        if path and os.access(path, os.R_OK):
            return path
    raise AddressError("needs sslrootcert: this machine has no file of certificate authorities (ca-certificates)")


def bind_to_certificate(parameters: dict[str, str]) -> dict[str, str]:
    """Return the TLS parameters for asyncpg. It does not support channel binding of SCRAM. For
    `channel_binding=require` it verifies the server's certificate, which stops the same man-in-the-middle attack."""
    tls = {name: value for name, value in parameters.items() if name in COMMON}
    if parameters.get("channel_binding") != "require":
        return tls
    if tls.get("sslmode") == "disable":
        raise AddressError("channel_binding require needs TLS: remove sslmode disable")
    if "sslrootcert" not in tls and not has_own_authority():
        return {**tls, "sslmode": "verify-full", "sslrootcert": find_authorities()}
    return {**tls, "sslmode": "verify-full" if tls.get("sslmode") == "verify-full" else "verify-ca"}


def check_redis_address(text: str) -> None:
    """Raise AddressError unless redis-py supports everything in the address; does not connect."""
    from redis.asyncio.connection import Connection, parse_url  # loaded by programs with a REDIS_URL only

    if not text.startswith(("redis://", "rediss://", "unix://")):
        raise AddressError("must begin with redis://, rediss:// or unix://")
    try:
        options: dict[str, Any] = dict(parse_url(text))
        number_of_database = text.startswith("unix:") or re.fullmatch(r"/?\d*", urlsplit(text).path)
        names = options.keys() - {"connection_class"}
        options.pop("connection_class", Connection)(**options)
    except Exception:  # of many kinds; their texts contain parts of the value
        raise AddressError(REDIS_FORM) from None
    if "#" in text or not number_of_database or not names <= REDIS_PARAMETERS:
        raise AddressError(REDIS_FORM)
