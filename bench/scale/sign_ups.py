"""Measure how long logins take while 200 people sign up at once: `.venv/bin/python -m bench.scale.sign_ups`, 30 s.

Each sign-up comes from a different address, so that no limit refuses it. Passwords are hashed at production's cost.
"""

import asyncio
import json
import time
from collections import Counter
from pathlib import Path

import uvloop
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from bench.scale.helpers import BenchServers, digits, read_rounds
from services.security.passwords import Passwords
from tests.helpers.scratch import scratch_folder

SIGN_UPS = 200
LOGINS = 20  # one after the other
LOGIN_SECONDS = 2.5  # limit for 99 of 100 logins
PASSWORD = "a long enough one"
COST = 12


class Bench:
    def __init__(self, servers: BenchServers) -> None:
        self.url = f"http://127.0.0.1:{servers.ports[0]}/api/v1/auth"
        self.http: AsyncHTTPClient = SimpleAsyncHTTPClient(force_instance=True, max_clients=SIGN_UPS + 1)

    async def post(self, path: str, body: dict[str, object], address: str) -> HTTPResponse:
        headers = {"Content-Type": "application/json", "X-Forwarded-For": address}
        return await self.http.fetch(
            f"{self.url}/{path}",
            method="POST",
            body=json.dumps(body),
            headers=headers,
            raise_error=False,
            request_timeout=60,
        )

    async def sign_up(self, round_number: int, number: int) -> HTTPResponse:
        email = f"new{round_number}.{number}@example.com"
        body = {"name": "Hanako", "email": email, "password": PASSWORD, "termsAccepted": True}
        return await self.post("signup/salon", body, f"10.{round_number}.{number // 250}.{number % 250}")

    async def log_in(self, email: str) -> tuple[float, int]:
        began = time.monotonic()
        answer = await self.post("login", {"email": email, "password": PASSWORD}, "198.51.100.7")
        return time.monotonic() - began, answer.code

    async def round(self, number: int, email: str) -> tuple[list[float], Counter[int], Counter[int]]:
        """Return the seconds of the logins, their statuses and those of the sign-ups."""
        sign_ups = [asyncio.create_task(self.sign_up(number, person)) for person in range(SIGN_UPS)]
        await asyncio.sleep(0)  # the sign-ups are sent first
        logins = [await self.log_in(email) for _ in range(LOGINS)]
        answers = await asyncio.gather(*sign_ups)
        return (
            [seconds for seconds, _ in logins],
            Counter(status for _, status in logins),
            Counter(answer.code for answer in answers),
        )


async def run(folder: Path, rounds: int) -> None:
    async with BenchServers(folder, instances=1) as servers:
        user_id, _ = await servers.user("SALON")
        passwords = Passwords(COST)
        await servers.db.execute(
            "update users set password_hash = $2 where id = $1", user_id, await passwords.hash(PASSWORD)
        )
        passwords.close()
        email = await servers.db.fetchval("select email from users where id = $1", user_id)
        bench = Bench(servers)
        seconds: list[float] = []
        for number in range(rounds):
            taken, logins, sign_ups = await bench.round(number, email)
            seconds += taken
            print(f"round {number + 1}: logins {dict(logins)}, sign-ups {dict(sign_ups)}", flush=True)
        seconds.sort()
        p99 = seconds[int(len(seconds) * 0.99)]
        median = seconds[len(seconds) // 2]
        print(
            f"a login while {SIGN_UPS} sign up at once: median {digits(median)} s, p99 {digits(p99)} s"
            f" (at most {LOGIN_SECONDS} on a machine that does nothing else)"
        )


def main() -> None:
    rounds = read_rounds(__doc__, 3)
    with scratch_folder("encer-bench-") as folder:
        uvloop.run(run(folder, rounds))


if __name__ == "__main__":
    main()
