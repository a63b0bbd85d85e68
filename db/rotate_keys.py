"""`.venv/bin/python -m db.rotate_keys` encrypts all encrypted columns with the current key.

Before you run it, every instance must know both keys and encrypt with the new one (docs/operations.md). When it leaves
nothing to do, you can empty ENCRYPTION_KEYS_OLD. Instances can run meanwhile. It can be stopped and run again at any
time: it skips values that have the current key, and leaves values that are in use to the next run.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from db.packaged.servers import database_of
from db.pool import Database
from db.queries.outbox import payload_identity
from services.commands import program
from services.logs import write_out
from services.security.encryption import DecryptionFailed, Encryption
from services.tiktok.account_tokens import identity
from services.tiktok.oauth_states import verifier_identity
from settings import Settings, load_settings

POOL_SIZE = 2
BATCH_ROWS = 200

# Not while the tokens of the account are being refreshed: the refresh compares the encrypted token to detect changes.
FREE = "(refresh_claimed_until is null or refresh_claimed_until <= now())"


class Column(NamedTuple):
    """A column with encrypted values. `owner` is the column whose value they are bound to."""

    table: str
    name: str
    owner: str
    identity: Callable[[str], str]
    condition: str = "true"

    @property
    def select(self) -> str:
        return f"""
            select id, {self.owner} as owner, {self.name} as envelope from {self.table}
            where {self.name} is not null and ($1::uuid is null or id > $1) order by id limit $2
        """

    @property
    def update(self) -> str:
        return f"update {self.table} set {self.name} = $3 where id = $1 and {self.name} = $2 and {self.condition}"


COLUMNS = (
    Column("social_media_accounts", "access_token", "id", lambda id: identity(id, "access_token"), FREE),
    Column("social_media_accounts", "refresh_token", "id", lambda id: identity(id, "refresh_token"), FREE),
    Column("token_revocations", "access_token", "account_id", lambda id: identity(id, "access_token")),
    Column("token_revocations", "refresh_token", "account_id", lambda id: identity(id, "refresh_token")),
    Column("oauth_states", "verifier", "id", verifier_identity),
    Column("email_outbox", "payload", "id", payload_identity),
)


async def rotate(database: Database, encryption: Encryption) -> Counter[str]:
    """Return the number of values that are `rotated`, already `current`, `in use`, or `unreadable` with all keys."""
    counts: Counter[str] = Counter()
    for column in COLUMNS:
        after = None
        while rows := await database.fetch(column.select, after, BATCH_ROWS):
            for row in rows:
                outcome = await rotate_one(database, encryption, column, row["id"], row["owner"], row["envelope"])
                counts[outcome] += 1
            after = rows[-1]["id"]
    return counts


async def rotate_one(
    database: Database, encryption: Encryption, column: Column, row_id: str, owner: str, envelope: bytes
) -> str:
    if not encryption.needs_rotation(envelope):
        return "current"
    try:
        plaintext = encryption.decrypt(envelope, column.identity(owner))
    except DecryptionFailed as error:
        print(f"{column.table} {row_id} {column.name}: {error}", file=sys.stderr)
        return "unreadable"
    renewed = encryption.encrypt(plaintext, column.identity(owner))
    changed = await database.execute(column.update, row_id, envelope, renewed)
    return "rotated" if changed == "UPDATE 1" else "in use"


async def run(url: str, settings: Settings) -> Counter[str]:
    database = await Database.connect(url, POOL_SIZE)
    try:
        return await rotate(database, Encryption.from_settings(settings))
    finally:
        await database.close()


@program
def main() -> int:
    settings = load_settings()
    with database_of(settings) as url:
        counts = asyncio.run(run(url, settings))
    write_out(f"{counts['rotated']} encrypted with the current key, {counts['current']} had it already")
    if counts["in use"]:
        write_out(f"{counts['in use']} are in use: run the command again")
    if counts["unreadable"]:
        write_out(f"{counts['unreadable']} cannot be decrypted with any of the keys: see above")
    return 1 if counts["in use"] or counts["unreadable"] else 0


if __name__ == "__main__":
    sys.exit(main())
