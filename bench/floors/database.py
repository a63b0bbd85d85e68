"""A pool of asyncpg whose connections make no second round trip and leave JSON as bytes, as the server's."""

import asyncpg


class Connection(asyncpg.Connection):  # type: ignore[misc]
    def get_reset_query(self) -> str:
        return ""  # a second round trip per statement, which the server does not make either


async def set_codec(conn: asyncpg.Connection) -> None:
    await conn.set_type_codec("json", schema="pg_catalog", encoder=str, decoder=bytes, format="binary")


async def connect(url: str) -> asyncpg.Pool:
    return await asyncpg.create_pool(
        url, min_size=1, max_size=10, init=set_codec, connection_class=Connection, server_settings={"jit": "off"}
    )
