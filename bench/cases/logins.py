"""Delays of a request without work while passwords are checked and pictures are converted."""

import io
import json
from collections.abc import AsyncIterator

import bcrypt
from PIL import Image

from bench.cases.delivery import p99
from bench.clients.posts import post
from bench.results import Result, at_most, at_most_times
from bench.setup.environment import NO_LIMIT, Environment
from bench.setup.processes import ClientProcess, Measured

LOGINS, UPLOADS = NAMES = ("/health p99 while 8 log in", "/health p99 while 20 log in and 5 upload")
PASSWORD = "a long password of the bench"
COST = 12  # as in production
STORE_HASH = "update users set password_hash = $1 where id = any($2::uuid[]) returning email"
PICTURE = (1600, 1200)
BOUNDARY = "bench"
ACCEPTED = {"login 200", "login 503", "upload 200"}  # 503: more passwords wait than can be checked in two seconds


def picture() -> bytes:
    out = io.BytesIO()
    Image.effect_noise(PICTURE, 80).convert("RGB").save(out, "JPEG", quality=85)
    return out.getvalue()


def upload(token: str) -> bytes:
    """Return a request with a picture."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="profilePic"; filename="a.jpg"\r\n'
    body = f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + picture() + f"\r\n--{BOUNDARY}--\r\n".encode()
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return post("/api/v1/profile/upload-picture", body, f"Authorization: Bearer {token}\r\n", kind)


class LoginBench:
    def __init__(self, environment: Environment, client: ClientProcess, server: Measured) -> None:
        self.environment, self.client, self.server = environment, client, server

    async def prepare(self) -> None:
        people = [pair.influencer for pair in self.environment.pairs[-25:]]  # an account keeps its newest sessions only
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(COST)).decode()
        rows = await self.environment.db.fetch(STORE_HASH, hashed, [person.id for person in people])
        self.logins = [json.dumps({"email": row["email"], "password": PASSWORD}) for row in rows]
        self.uploads = []
        for number, person in enumerate(people[20:]):
            file = self.environment.folder / f"upload-{number}.bin"
            file.write_bytes(upload(person.token))
            self.uploads.append(str(file))

    async def delay(self, logins: int = 0, uploads: int = 0) -> float:
        """Return p99 in milliseconds."""
        answer = await self.client.order(
            port=self.server.port,
            seconds=self.environment.size.seconds,
            logins=self.logins[:logins],
            uploads=self.uploads[:uploads],
        )
        if odd := set(answer["statuses"]) - ACCEPTED:
            raise SystemExit(f"requests were refused: {sorted(odd)}")
        return p99(answer["delays"])


async def measure(environment: Environment, wanted: set[str]) -> AsyncIterator[Result]:
    server = environment.start_server(LIMIT_UPLOAD="100000/1h", LIMIT_GENERAL=NO_LIMIT)
    bench = LoginBench(environment, await environment.start_client("logins"), server)
    await bench.prepare()
    await bench.delay(logins=1, uploads=1)  # warm
    logins, uploads = Result(LOGINS, "ms", at_most_times(3)), Result(UPLOADS, "ms", at_most(20))
    for _ in range(environment.size.rounds):
        if LOGINS in wanted:
            logins.floor.append(await bench.delay())
            logins.ours.append(await bench.delay(logins=8))
        if UPLOADS in wanted:
            uploads.ours.append(await bench.delay(logins=20, uploads=5))
    for result in (logins, uploads):
        if result.ours:
            yield result
