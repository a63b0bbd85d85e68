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
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

import asyncpg
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

from db.packaged.servers import free_port
from examples.chat import mailed_code
from services.logs import write_out
from tests.helpers.scratch import scratch_folder
from tests.vendors import apify, tiktok

ROOT = Path(__file__).parent.parent
ALL_SECONDS = 180  # starting PostgreSQL and the server takes about five of them
START_SECONDS = 60
CALL_SECONDS = 30
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


class Answer(NamedTuple):
    status: int
    body: dict[str, Any]


class Unexpected(Exception):
    pass


def say(line: str = "") -> None:
    write_out(line)


def title(text: str) -> None:
    say(f"\n── {text} " + "─" * max(0, 96 - len(text)))


def count(number: int) -> str:
    return f"{number:,}"


class Demo:
    """The web client's side of a server at `base`."""

    def __init__(self, base: str, folder: Path, scraper: apify.Apify, login_kit: tiktok.TikTok) -> None:
        self.base, self.mails = base, folder / "mail"
        self.database_url = json.loads((folder / "servers.json").read_text())["database_url"]
        self.apify, self.tiktok = scraper, login_kit
        self.http = AsyncHTTPClient(force_instance=True)

    async def fetch(self, url: str, method: str = "GET", body: Any = None, token: str = "") -> HTTPResponse:
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        request = HTTPRequest(
            url,
            method,
            headers,
            json.dumps(body) if body is not None else None,
            follow_redirects=False,
            request_timeout=CALL_SECONDS,
            allow_nonstandard_methods=True,
        )
        return await self.http.fetch(request, raise_error=False)

    async def call(self, method: str, path: str, body: Any = None, token: str = "", expect: int = 200) -> Answer:
        """Make a request and print it in a line; an unexpected status ends the demonstration."""
        response = await self.fetch(f"{self.base}/api/v1{path}", method, body, token)
        answer = Answer(response.code, json.loads(response.body or b"{}"))
        reason_text = answer.body.get("error") or answer.body.get("message") or ""
        reason = f" [{answer.body['reason']}]" if "reason" in answer.body else ""
        say(f"  {method:6} {path} {json.dumps(body) if body else ''}\n         → {answer.status} {reason_text}{reason}")
        if answer.status != expect:
            raise Unexpected(f"{method} {path}: {expect} was expected, not {answer.status}: {answer.body}")
        return answer

    async def sign_up(self, name: str) -> str:
        email = f"{name.lower()}@example.com"
        about = {"name": name, "email": email, "password": PASSWORD, "termsAccepted": True}
        await self.call("POST", "/auth/signup/influencer", about, expect=201)
        await self.call("POST", "/auth/verify-otp", {"email": email, "otp": await mailed_code(self.mails, email)})
        return await self.sign_in(email)

    async def sign_in(self, email: str) -> str:
        login = await self.call("POST", "/auth/login", {"email": email, "password": PASSWORD})
        value: str = login.body["accessToken"]
        return value

    async def run(self) -> None:
        title("Two influencers sign up; the codes come by mail")
        sakura, yuki = await self.sign_up("Sakura"), await self.sign_up("Yuki")
        await self.connect(sakura, yuki)
        await self.prove(sakura, yuki)
        await self.consent(sakura)
        await self.look_up(yuki)
        await self.night(sakura)
        await self.leave(sakura)

    async def connect(self, sakura: str, yuki: str) -> None:
        title(f"Both connect @{SAKURA} at the same moment: one scrape is paid for")
        path, body = "/social-media/instagram/connect", {"username": f"@{SAKURA}"}
        first, _ = await asyncio.gather(*(self.call("POST", path, body, token) for token in (sakura, yuki)))
        account = first.body["account"]
        tags = " ".join(f"#{tag}" for tag in account["metadata"]["topHashtags"][:4])
        followers, rate = count(account["followersCount"]), account["engagementRate"]
        say(f"  {account['displayName']}: {followers} followers, {rate} % engagement, {tags}")
        say(f"  scrapes started at the vendor: {self.apify.runs_started}")
        self.check(self.apify.runs_started == 1, "one scrape for two callers")

        title("What vendors answer when things are not well")
        failing = {"nobody.here": 404, "himitsu.nails": 409, "broken.actor": 502, "slow.actor": 504}
        for username, expected in failing.items():
            await self.call("POST", path, {"username": username}, yuki, expect=expected)
        self.apify.fail("out_of_credit", "runs$")
        await self.call("POST", path, {"username": "mika_skincare"}, yuki, expect=502)

        title("Syncing by hand: fresh numbers are not fetched again")
        synced = await self.call("POST", "/social-media/instagram/sync", {"accountId": account["id"]}, sakura)
        say(f"  cached: {synced.body['cached']}, {synced.body['cacheAge']} s old")

    async def prove(self, sakura: str, yuki: str) -> None:
        title(f"Whose is @{SAKURA}? Sakura's code goes into the bio")
        account = (await self.call("GET", "/social-media/accounts", token=sakura)).body["accounts"][0]
        verify = f"/social-media/{account['id']}/verify"
        missing = await self.call("POST", verify, token=sakura, expect=409)
        self.apify.bios[SAKURA] = f"東京・表参道💅 {missing.body['verificationCode']}"
        say(f"  (the bio now reads “{self.apify.bios[SAKURA]}”)")
        proven = await self.call("POST", verify, token=sakura)
        self.check(proven.body["isVerified"], "the code proves the account")
        left = await self.call("GET", "/social-media/accounts", token=yuki)
        self.check(left.body["accounts"] == [], "no other user shows a handle that is proven")
        connect = "/social-media/instagram/connect"
        await self.call("POST", connect, {"username": SAKURA}, yuki, expect=409)
        await self.call("POST", connect, {"username": YUKI}, yuki)

    async def consent(self, sakura: str) -> None:
        title("TikTok's consent: sent there with a signed state and a PKCE challenge, and back with a code")
        begun = await self.call("GET", "/social-media/tiktok/auth", token=sakura)
        say(f"  the browser goes to {begun.body['authUrl'][:96]}…")
        decided = await self.fetch(f"{begun.body['authUrl']}&{urlencode({'decision': 'allow', 'username': SAKURA})}")
        redirect = urlsplit(decided.headers["Location"])
        back = f"{self.base}{redirect.path}?{redirect.query}"
        landed = (await self.fetch(back)).headers["Location"]
        say(f"  … allows, comes back with a code, and lands on {landed}")
        self.check(parse_qs(urlsplit(landed).query) == {"tiktok": ["connected"]}, "the consent connects the account")
        again = (await self.fetch(back)).headers["Location"]
        say(f"  the same address once more: {again}")
        self.check(again == landed, "a reload leads to the same page")
        other = (await self.fetch(back.replace("code=", "code=another"))).headers["Location"]
        say(f"  the same with another code: {other}")
        self.check("reason=invalid_state" in other, "a state works for one code")

    async def look_up(self, reader: str) -> None:
        title("Anybody signed in may look up a public profile; the week's second look costs nothing")
        started = self.apify.runs_started
        for _ in range(2):
            found = await self.call("GET", "/social-media/tiktok/profile/mika_skincare", token=reader)
            say(
                f"  {found.body['data']['displayName']}: {count(found.body['data']['followersCount'])} followers, "
                f"cached: {found.body['cached']}"
            )
        self.check(self.apify.runs_started == started + 1, "one scrape for two looks")

    async def night(self, sakura: str) -> None:
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
            await self.call("POST", f"/admin/jobs/{name}/run", token=admin, expect=202)
            run = await self.ended(admin, name)
            say(f"         … {run['status']} after {run['durationMs']} ms: {run['counts']}")
            self.check((run["status"], run["counts"]) == ("SUCCEEDED", expected), f"{name} does {expected}")
        accounts = (await self.call("GET", "/social-media/accounts", token=sakura)).body["accounts"]
        followers = {account["platform"]: account["followersCount"] for account in accounts}
        say(f"  Sakura's followers now: {followers}")
        self.check(followers["TIKTOK"] == 61_000, "the night brings new numbers")
        reminder = await self.mail_to("yuki@example.com", "Instagram")
        say(f"  mailed to Yuki: {reminder}")

    async def ended(self, admin: str, name: str) -> dict[str, Any]:
        async with asyncio.timeout(JOB_SECONDS):
            while True:
                response = await self.fetch(f"{self.base}/api/v1/admin/jobs", token=admin)
                job = next(job for job in json.loads(response.body)["data"] if job["name"] == name)
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

    async def leave(self, sakura: str) -> None:
        title("Sakura disconnects TikTok: the account is removed, and its grant revoked")
        await self.call("DELETE", "/social-media/tiktok", token=sakura)
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
