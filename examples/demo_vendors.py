"""`make demo-vendors`: a server with stand-ins of Apify and TikTok, and all that users do with these platforms.

Connecting, syncing, proving, TikTok's consent, a week later the three nightly jobs run by an admin, and the end of a
connection. Everything is local and temporary, and needs no key. Exits 0 if all steps succeed.
"""

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import asyncpg
from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from db.packaged.servers import free_port
from examples.chat import mailed_code
from services.logs import write_out
from tests.helpers.scratch import scratch_folder
from tests.vendors import apify, tiktok

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clients" / "python"))

from encer import Encer, EncerError

ROOT = Path(__file__).parent.parent
ALL_SECONDS = 180  # starting PostgreSQL and the server takes about five of them
START_SECONDS = 60
CALL_SECONDS = 30.0
JOB_SECONDS = 30
SCRAPE_SECONDS = 1.0  # of a stand-in's scrape, long enough to watch
PASSWORD = "tea and biscuits"
ADMIN = "boss@example.com"
SAKURA, YUKI = "sakura.nails_tokyo", "yuki.hairstyle"

A_WEEK_PASSES = """
    update social_media_accounts
    set created_at = created_at - interval '8 days', last_synced_at = last_synced_at - interval '8 days',
        next_sync_at = next_sync_at - interval '8 days';
    update scrape_runs set finished_at = finished_at - interval '8 days'
"""


class Unexpected(Exception):
    pass


def say(line: str = "") -> None:
    write_out(line)


def title(text: str) -> None:
    say(f"\n── {text} " + "─" * max(0, 96 - len(text)))


def count(number: int) -> str:
    return f"{number:,}"


class Demo:
    """What users do with a server at `base`, by the Python client (clients/python)."""

    def __init__(self, base: str, folder: Path, scraper: apify.Apify, login_kit: tiktok.TikTok) -> None:
        self.base, self.mails = base, folder / "mail"
        self.database_url = json.loads((folder / "servers.json").read_text())["database_url"]
        self.apify, self.tiktok = scraper, login_kit
        self.visitor = Encer(base)
        self.clients = [self.visitor]

    async def call(
        self, method: str, path: str, body: Any = None, caller: Encer | None = None, refusal: int = 0
    ) -> dict[str, Any]:
        """Make a request and print it in a line; it must succeed, or be refused with this status."""
        say(f"  {method:6} {path} {json.dumps(body) if body else ''}")
        try:
            if caller:
                answer: dict[str, Any] = await caller.call(method, path, body, seconds=CALL_SECONDS)
            else:
                answer = await self.visitor.rest.send(method, path, json=body)
        except EncerError as error:
            say(f"         → {error.status} {error.code}: {error}")
            if error.status != refusal:
                raise Unexpected(f"{method} {path}: {error.status} {error}") from error
            return {}
        say(f"         → {answer.get('message', 'done')}")
        self.check(not refusal, f"{method} {path} is refused with {refusal}")
        return answer

    async def visit(self, url: str) -> str:
        """Open a page as a browser does; return the address to which it leads."""
        response = await AsyncHTTPClient().fetch(
            HTTPRequest(url, follow_redirects=False, request_timeout=CALL_SECONDS), raise_error=False
        )
        return str(response.headers["Location"])

    async def sign_up(self, name: str) -> Encer:
        email = f"{name.lower()}@example.com"
        about = {"name": name, "email": email, "password": PASSWORD, "termsAccepted": True}
        await self.call("POST", "/auth/signup/influencer", about)
        await self.call("POST", "/auth/verify-otp", {"email": email, "otp": await mailed_code(self.mails, email)})
        return await self.sign_in(email)

    async def sign_in(self, email: str) -> Encer:
        encer = Encer(self.base)
        self.clients.append(encer)
        await encer.sign_in(email, PASSWORD)
        say(f"  {email} signs in")
        return encer

    async def run(self) -> None:
        title("Two influencers sign up; the codes come by mail")
        sakura, yuki = await self.sign_up("Sakura"), await self.sign_up("Yuki")
        await self.connect(sakura, yuki)
        await self.prove(sakura, yuki)
        await self.consent(sakura)
        await self.look_up(yuki)
        await self.night(sakura)
        await self.leave(sakura)
        for encer in self.clients:
            await encer.close()

    async def connect(self, sakura: Encer, yuki: Encer) -> None:
        title(f"Both connect @{SAKURA} at the same moment: one scrape is paid for")
        path, body = "/social-media/instagram/connect", {"username": f"@{SAKURA}"}
        first, _ = await asyncio.gather(*(self.call("POST", path, body, caller) for caller in (sakura, yuki)))
        account = first["account"]
        tags = " ".join(f"#{tag}" for tag in account["metadata"]["topHashtags"][:4])
        followers, rate = count(account["followersCount"]), account["engagementRate"]
        say(f"  {account['displayName']}: {followers} followers, {rate} % engagement, {tags}")
        say(f"  scrapes started at the vendor: {self.apify.runs_started}")
        self.check(self.apify.runs_started == 1, "one scrape for two callers")

        title("What vendors answer when things are not well")
        failing = {"nobody.here": 404, "himitsu.nails": 409, "broken.actor": 502, "slow.actor": 504}
        for username, expected in failing.items():
            await self.call("POST", path, {"username": username}, yuki, refusal=expected)
        self.apify.fail("out_of_credit", "runs$")
        await self.call("POST", path, {"username": "mika_skincare"}, yuki, refusal=502)

        title("Syncing by hand: fresh numbers are not fetched again")
        synced = await self.call("POST", "/social-media/instagram/sync", {"accountId": account["id"]}, sakura)
        say(f"  cached: {synced['cached']}, {synced['cacheAge']} s old")

    async def prove(self, sakura: Encer, yuki: Encer) -> None:
        title(f"Whose is @{SAKURA}? Sakura's code goes into the bio")
        account = (await self.call("GET", "/social-media/accounts", caller=sakura))["accounts"][0]
        verify = f"/social-media/{account['id']}/verify"
        await self.call("POST", verify, caller=sakura, refusal=409)
        self.apify.bios[SAKURA] = f"東京・表参道💅 {account['verificationCode']}"
        say(f"  (the bio now reads “{self.apify.bios[SAKURA]}”)")
        proven = await self.call("POST", verify, caller=sakura)
        self.check(proven["isVerified"], "the code proves the account")
        left = await self.call("GET", "/social-media/accounts", caller=yuki)
        self.check(left["accounts"] == [], "no other user shows a handle that is proven")
        connect = "/social-media/instagram/connect"
        await self.call("POST", connect, {"username": SAKURA}, yuki, refusal=409)
        await self.call("POST", connect, {"username": YUKI}, yuki)

    async def consent(self, sakura: Encer) -> None:
        title("TikTok's consent: sent there with a signed state and a PKCE challenge, and back with a code")
        begun = await self.call("GET", "/social-media/tiktok/auth", caller=sakura)
        say(f"  the browser goes to {begun['authUrl'][:96]}…")
        redirect = urlsplit(
            await self.visit(f"{begun['authUrl']}&{urlencode({'decision': 'allow', 'username': SAKURA})}")
        )
        back = f"{self.base}{redirect.path}?{redirect.query}"
        landed = await self.visit(back)
        say(f"  … allows, comes back with a code, and lands on {landed}")
        self.check(parse_qs(urlsplit(landed).query) == {"tiktok": ["connected"]}, "the consent connects the account")
        again = await self.visit(back)
        say(f"  the same address once more: {again}")
        self.check(again == landed, "a reload leads to the same page")
        other = await self.visit(back.replace("code=", "code=another"))
        say(f"  the same with another code: {other}")
        self.check("reason=invalid_state" in other, "a state works for one code")

    async def look_up(self, reader: Encer) -> None:
        title("Anybody signed in may look up a public profile; the week's second look costs nothing")
        started = self.apify.runs_started
        for _ in range(2):
            found = await self.call("GET", "/social-media/tiktok/profile/mika_skincare", caller=reader)
            say(
                f"  {found['data']['displayName']}: {count(found['data']['followersCount'])} followers, "
                f"cached: {found['cached']}"
            )
        self.check(self.apify.runs_started == started + 1, "one scrape for two looks")

    async def night(self, sakura: Encer) -> None:
        title("A week passes (in the database); an admin runs the nightly jobs")
        conn = await asyncpg.connect(self.database_url)
        await conn.execute(A_WEEK_PASSES)
        await conn.close()
        self.tiktok.users[SAKURA] = {"follower_count": 61_000}
        self.tiktok.expire_access_tokens()
        admin = await self.sign_in(ADMIN)
        for name, expected in (
            ("token_refresh", {"refreshed": 1}),
            ("data_sync", {"synced": 3}),
            ("instagram_reminder", {"reminded": 1}),
        ):
            await self.call("POST", f"/admin/jobs/{name}/run", caller=admin)
            run = await self.ended(admin, name)
            say(f"         … {run['status']} after {run['durationMs']} ms: {run['counts']}")
            self.check((run["status"], run["counts"]) == ("SUCCEEDED", expected), f"{name} does {expected}")
        accounts = (await self.call("GET", "/social-media/accounts", caller=sakura))["accounts"]
        followers = {account["platform"]: account["followersCount"] for account in accounts}
        say(f"  Sakura's followers now: {followers}")
        self.check(followers["TIKTOK"] == 61_000, "the night brings new numbers")
        reminder = await self.mail_to("yuki@example.com", "Instagram")
        say(f"  mailed to Yuki: {reminder}")

    async def ended(self, admin: Encer, name: str) -> dict[str, Any]:
        async with asyncio.timeout(JOB_SECONDS):
            while True:
                jobs = (await admin.call("GET", "/admin/jobs"))["data"]
                job = next(job for job in jobs if job["name"] == name)
                if not job["running"]:
                    value: dict[str, Any] = job["lastRuns"][0]
                    return value
                await asyncio.sleep(0.1)

    async def mail_to(self, address: str, word: str) -> str:
        async with asyncio.timeout(JOB_SECONDS):
            while True:
                for path in self.mails.glob("*.eml"):
                    text = path.read_text()
                    subject = re.search(r"^Subject: (.*)$", text, re.MULTILINE)
                    if f"To: {address}" in text and subject and word in subject[1]:
                        return subject[1]
                await asyncio.sleep(0.1)

    async def leave(self, sakura: Encer) -> None:
        title("Sakura disconnects TikTok: the account is removed, and its grant revoked")
        await self.call("DELETE", "/social-media/tiktok", caller=sakura)
        say(f"  tokens that TikTok still honours: {len(self.tiktok.access_tokens) + len(self.tiktok.refresh_tokens)}")
        self.check(not self.tiktok.access_tokens and not self.tiktok.refresh_tokens, "the grant is revoked")

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            raise Unexpected(f"this did not come true: {what}")


@asynccontextmanager
async def server(folder: Path, scraper: apify.Apify, login_kit: tiktok.TikTok) -> AsyncIterator[str]:
    """Run `server.py` as a process with a packaged PostgreSQL and Redis in `folder`; yield its address."""
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH")}
    environment = kept | {
        "PORT": str(port),
        "DATA_DIR": str(folder),
        "LOG_LEVEL": "ERROR",
        "PASSWORD_COST": "4",
        "JOBS_ENABLED": "false",
        "ADMIN_EMAIL": ADMIN,
        "ADMIN_PASSWORD": PASSWORD,
        "FRONTEND_URL": "http://localhost:5173",
        "APIFY_API_URL": scraper.url,
        "APIFY_API_TOKEN": apify.TOKEN,
        "TIKTOK_AUTH_URL": login_kit.auth_url,
        "TIKTOK_API_URL": login_kit.url,
        "TIKTOK_CLIENT_KEY": tiktok.CLIENT_KEY,
        "TIKTOK_CLIENT_SECRET": tiktok.CLIENT_SECRET,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "server.py", cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        await until_it_listens(process)
        drain = asyncio.create_task(drop_output(process))
        yield f"http://127.0.0.1:{port}"
        drain.cancel()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), START_SECONDS)


async def until_it_listens(process: Process) -> None:
    assert process.stdout
    async with asyncio.timeout(START_SECONDS):
        while b"listens on" not in (line := await process.stdout.readline()):
            if not line:
                raise Unexpected("the server does not start")


async def drop_output(process: Process) -> None:
    """Read the output, because a full pipe would block the server."""
    assert process.stdout
    while await process.stdout.readline():
        pass


async def demonstrate() -> None:
    with scratch_folder("encer-demo-") as name:
        folder = Path(name)
        async with apify.Apify(SCRAPE_SECONDS) as scraper, tiktok.TikTok() as login_kit:
            title("Stand-ins of Apify and TikTok, and a server wired to them")
            say(f"  Apify at {scraper.url}, TikTok at {login_kit.url}")
            async with server(folder, scraper, login_kit) as base:
                say(f"  the server at {base}")
                await Demo(base, folder, scraper, login_kit).run()
    say("\nAll steps succeeded.")


def main() -> int:
    async def bounded() -> None:
        async with asyncio.timeout(ALL_SECONDS):
            await demonstrate()

    try:
        asyncio.run(bounded())
    except Unexpected as fault:
        say(f"\nThis went wrong: {fault}")
        return 1
    except TimeoutError:
        say(f"\nThis took longer than {ALL_SECONDS} seconds")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
