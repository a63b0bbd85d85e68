"""A stand-in for Apify's API v2 (https://docs.apify.com/api/v2), with the two actors that the server runs.

The username decides how a run ends: `behaviours[username]` is one of
`not_found empty private restricted blocked failed aborted timed_out nonsense no_json no_list huge never_ends`, none
for success. `datasets[username]` replaces what a run finds, `bios[username]` a person's biography.
"""

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from tests.vendors.people import BEHAVIOURS, instagram_profile, person, tiktok_items
from tests.vendors.stand_in import Answer, Handler, StandIn

TOKEN = "apify_api_test_token"
MAX_WAIT_SECONDS = 60  # of `waitForFinish`
STATUS = {"failed": "FAILED", "aborted": "ABORTED", "timed_out": "TIMED-OUT"}
HUGE_BYTES = 12 * 1024 * 1024


def refusal(status: int, kind: str, message: str) -> Answer:
    return status, {"error": {"type": kind, "message": message}}


@dataclass
class Run:
    actor: str
    username: str
    timeout: int
    max_items: int
    input: Any = None
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    status: str = "RUNNING"
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    timer: asyncio.TimerHandle | None = None  # ends the run at its timeout

    @property
    def dataset_id(self) -> str:
        return f"dataset-{self.id}"

    def end(self, status: str) -> None:
        if self.status == "RUNNING":
            self.status = status
            self.ended.set()
            if self.timer:
                self.timer.cancel()

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "actId": "shu8hvrXbJbY3Eb9W",
            "userId": "rEb6kY2bQm7TnWc1x",
            "startedAt": self.started_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "finishedAt": None,
            "status": self.status,
            "statusMessage": f"vendor words about {self.username}",
            "meta": {"origin": "API", "userAgent": "stand-in"},
            "usageTotalUsd": 0.01,
            "stats": {"restartCount": 0, "computeUnits": 0.01},
            "options": {"build": "latest", "timeoutSecs": self.timeout, "memoryMbytes": 1024, "diskMbytes": 2048},
            "buildId": "7sT5jcggjjA9fNcxF",
            "defaultKeyValueStoreId": f"store-{self.id}",
            "defaultDatasetId": self.dataset_id,
            "defaultRequestQueueId": f"queue-{self.id}",
        }


class Runs(Handler):
    def post(self, actor: str) -> None:
        wanted = self.body.get("usernames") or self.body.get("profiles") or []
        if len(wanted) != 1:
            return self.answer(*refusal(400, "invalid-input", "exactly one profile, please"))
        if sum(run.status == "RUNNING" for run in self.vendor.runs.values()) >= self.vendor.max_running:
            return self.answer(*self.vendor.failures["out_of_memory"])
        run = Run(actor, wanted[0], int(self.get_argument("timeout", "300")), int(self.get_argument("maxItems", "999")))
        run.input = self.body
        self.vendor.start(run)
        return self.answer(201, {"data": run.to_json()})

    def get(self, actor: str) -> None:
        """Return the runs, oldest first, as Apify sorts them."""
        limit, states = int(self.get_argument("limit", "1000")), self.get_argument("status", "").split(",")
        after = datetime.fromisoformat(self.get_argument("startedAfter", "1970-01-01T00:00:00Z"))
        found = [
            run.to_json()
            for run in self.vendor.runs.values()
            if run.actor == actor and run.started_at >= after and (states == [""] or run.status in states)
        ]
        page = {"total": len(found), "offset": 0, "limit": limit, "desc": False, "count": len(found[:limit])}
        return self.answer(200, {"data": page | {"items": found[:limit]}})


class Input(Handler):
    def get(self, store_id: str) -> None:
        run = self.vendor.runs.get(store_id.removeprefix("store-"))
        if run is None:
            return self.answer(*refusal(404, "record-not-found", "Key-value store was not found"))
        return self.answer(200, run.input)


class OneRun(Handler):
    async def get(self, run_id: str) -> None:
        run = self.vendor.runs.get(run_id)
        if run is None:
            return self.answer(*refusal(404, "record-not-found", "Actor run was not found"))
        wait = min(float(self.get_argument("waitForFinish", "0")), MAX_WAIT_SECONDS)
        with suppress(TimeoutError):
            await asyncio.wait_for(run.ended.wait(), wait)
        return self.answer(200, {"data": run.to_json()})


class Abort(Handler):
    def post(self, run_id: str) -> None:
        run = self.vendor.runs.get(run_id)
        if run is None:
            return self.answer(*refusal(404, "record-not-found", "Actor run was not found"))
        run.end("ABORTED")
        self.vendor.aborted.append(run_id)
        return self.answer(200, {"data": run.to_json()})


class Items(Handler):
    def get(self, dataset_id: str) -> None:
        run = self.vendor.runs.get(dataset_id.removeprefix("dataset-"))
        if run is None:
            return self.answer(*refusal(404, "record-not-found", "Dataset was not found"))
        found = self.vendor.find(run)
        if isinstance(found, list):
            start, limit = int(self.get_argument("offset", "0")), int(self.get_argument("limit", "999999"))
            found = found[start : start + limit]
        return self.answer(200, found)


class Bio(Handler):
    """`PUT /demo/bio/<username>` with a text sets a bio, as a user does to prove an account."""

    def put(self, username: str) -> None:
        self.vendor.bios[username.lower()] = self.request.body.decode()
        self.answer(200, {"username": username})


class Apify(StandIn):
    failures = {
        "bad_token": refusal(401, "user-or-token-not-found", "User was not found or authentication token is not valid"),
        "forbidden": refusal(403, "insufficient-permissions", "Insufficient permissions"),
        "not_rented": refusal(403, "actor-is-not-rented", "You must rent a paid Actor in order to run it"),
        "out_of_credit": refusal(402, "not-enough-usage-to-run-paid-actor", "You will exceed your remaining usage"),
        "usage_limit": refusal(403, "platform-feature-disabled", "Monthly usage hard limit exceeded"),
        "out_of_memory": refusal(402, "actor-memory-limit-exceeded", "You will exceed the memory limit of 8192MB"),
        "rate_limited": refusal(429, "rate-limit-exceeded", "You have exceeded the rate limit"),
        "server_error": refusal(500, "internal-error", "There was an error"),
        "bad_gateway": (502, "<html>502 Bad Gateway</html>"),
        "nonsense": (200, "<html>welcome</html>"),
        "half_json": (200, '{"data": {"id": '),
        "no_run": (201, {"data": {"hello": "world"}}),
    }
    routes = [
        ("/v2/act(?:or)?s/([^/]+)/runs", Runs),
        ("/v2/actor-runs/([^/]+)", OneRun),
        ("/v2/actor-runs/([^/]+)/abort", Abort),
        ("/v2/datasets/([^/]+)/items", Items),
        ("/v2/key-value-stores/([^/]+)/records/INPUT", Input),
        ("/demo/bio/([^/]+)", Bio),
    ]

    def __init__(self, run_seconds: float = 0) -> None:
        super().__init__()
        self.run_seconds = run_seconds
        self.max_running = 1000  # the plan's memory in runs
        self.behaviours = dict(BEHAVIOURS)
        self.datasets: dict[str, list[Any]] = {}
        self.bios: dict[str, str] = {}
        self.runs: dict[str, Run] = {}
        self.aborted: list[str] = []
        self.started = asyncio.Event()  # set by each start; a test may clear it

    @property
    def runs_started(self) -> int:
        return len(self.runs)

    def next_failure(self, method: str, path: str) -> Any:
        if path.startswith("/v2/") and self.calls[-1].headers.get("Authorization") != f"Bearer {TOKEN}":
            return "bad_token"
        return super().next_failure(method, path)

    def start(self, run: Run) -> None:
        self.runs[run.id] = run
        self.started.set()
        behaviour = self.behaviours.get(run.username.lower())
        loop = asyncio.get_running_loop()
        run.timer = loop.call_later(run.timeout, run.end, "TIMED-OUT")
        if behaviour != "never_ends":
            loop.call_later(self.run_seconds, run.end, STATUS.get(behaviour or "", "SUCCEEDED"))

    def find(self, run: Run) -> Any:
        """Return the items of a run's dataset."""
        username = run.username.lower()
        if username in self.datasets:
            return self.datasets[username]
        behaviour = self.behaviours.get(username)
        if behaviour == "private":
            return self.scrape(run, private=True)
        if behaviour == "huge":
            return '[{"username": "' + "x" * HUGE_BYTES + '"}]'
        input_url = {"inputUrl": f"https://www.instagram.com/{run.username}", "username": run.username}
        no_items = {"error": "no_items", "errorDescription": "Empty or private data for provided input"}
        found: dict[str, Any] = {
            "empty": [],
            "restricted": [
                input_url | {"error": "restricted_page", "errorDescription": "Restricted access, only partial data"}
            ],
            "not_found": [input_url | {"error": "not_found", "errorDescription": "Page not found"}],
            "no_items": [input_url | no_items | {"requestErrorMessages": []}],
            "blocked": [input_url | no_items | {"requestErrorMessages": ["Error: Request blocked, retrying"]}],
            "nonsense": [{"hello": "world"}],
            "no_json": "<html>welcome</html>",
            "no_list": {"items": []},
        }
        return found[behaviour] if behaviour in found else self.scrape(run)

    def scrape(self, run: Run, private: bool = False) -> list[dict[str, Any]]:
        who = person(run.username)
        who = replace(who, private=private, bio=self.bios.get(run.username.lower(), who.bio))
        return [instagram_profile(who)] if "instagram" in run.actor else tiktok_items(who, run.max_items)
