"""Runs of Apify actors: start, wait and read, each within a bound, and one typed error per state of the vendor.

A run costs money from its start. So a start is sent once, and repeated only if the vendor surely refused it. The run's
id is passed to `on_started`, which stores it, before anything else happens, even if the caller has disconnected. A
caller that takes over after a crash first searches for a run that was started (`since`). The vendor receives the same
timeout for the run that we wait for it.
"""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

import orjson
import structlog

from services.apify.bounded import VENDOR, read_bounded
from services.errors import (
    ActorFailed,
    ActorTimedOut,
    EmptyDataset,
    NotConfigured,
    UnreadableAnswer,
    VendorError,
    VendorTimeout,
)
from settings import Settings

if TYPE_CHECKING:  # `open_sdk` loads it
    from services.apify.sdk import Sdk

CALL_SECONDS = 15.0  # for any single answer; the long poll gets this in addition to the wait that it requests
START_SECONDS = 30.0  # a start may wait for a container
POLL_SECONDS = 20.0  # one long poll; the vendor takes up to 60, intermediaries may cut idle connections sooner
ABORT_SECONDS = 5.0  # best effort: the run's own timeout ends it soon after
ATTEMPTS = 3  # of each call that may be repeated
RETRY_SECONDS = 0.5  # doubled with each attempt
MAX_DATASET_BYTES = 8 * 1024 * 1024  # a profile with its posts is 0.1–0.5 MB
CLOSE_SECONDS = 10.0  # for unfinished starts when the server stops; the vendor's timeout ends the remaining runs
ACCOUNT_SECONDS = 10.0  # for `on_started` to store the run's id; a run whose id cannot be stored is aborted
FOUND_RUNS = 30  # read to find a lost run: an instance has at most 16, and ours is among the first
ALIVE: list[Any] = ["READY", "RUNNING", "SUCCEEDED"]  # a failed run cannot be continued
SKEW = timedelta(seconds=5)  # difference allowed between the vendor's clock and the clock of `since`

logger = structlog.get_logger(__name__)
T = TypeVar("T")


class StartedRun(NamedTuple):
    id: str


OnStarted = Callable[[StartedRun], Awaitable[None]]


class ApifyActors:
    """One client for all actors. `timeout` seconds bound a whole scrape, from the start to the last item."""

    def __init__(self, token: str | None, api_url: str, timeout: float) -> None:
        self.timeout = timeout
        self._token = token
        self._api_url = api_url
        self._opening: asyncio.Future[Sdk] | None = None
        self._background: set[asyncio.Task[Any]] = set()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        token = settings.apify_api_token
        return cls(
            token.get_secret_value() if token else None,
            settings.apify_api_url,
            settings.scrape_timeout.total_seconds(),
        )

    @property
    def configured(self) -> bool:
        return self._token is not None

    async def scrape(
        self,
        actor_id: str,
        run_input: dict[str, Any],
        max_items: int,
        on_started: OnStarted | None = None,
        since: datetime | None = None,
    ) -> list[Any]:
        """Start a run, wait for it and return its first `max_items` items; EmptyDataset if there is none.

        With `since`, continue a run for the same input that began after it, if there is one. Cancelling this loses no
        run: the start and `on_started` complete in the background, the run continues, and `resume` can wait for it.
        """
        deadline = asyncio.get_running_loop().time() + self.timeout
        start = self._in_background(self._start_and_report(actor_id, run_input, max_items, on_started, since))
        try:
            async with asyncio.timeout_at(deadline):
                run = await asyncio.shield(start)
        except TimeoutError:
            if start.done():  # `on_started` timed out, not this scrape
                raise
            self._in_background(self._abort_when_started(start))
            raise VendorTimeout(VENDOR, "the start was not answered in time") from None
        return await self._collect(run.id, max_items, deadline)

    async def resume(self, run_id: str, max_items: int) -> list[Any]:
        """Wait for a run that was started before, and return its items."""
        return await self._collect(run_id, max_items, asyncio.get_running_loop().time() + self.timeout)

    async def abort(self, run_id: str) -> None:
        """Ask the vendor to end the run. Best effort: never raises, never takes longer than ABORT_SECONDS."""
        sdk = await self._sdk()
        try:
            async with asyncio.timeout(ABORT_SECONDS):
                await sdk.client.run(run_id).abort(timeout=timedelta(seconds=ABORT_SECONDS))
        except (TimeoutError, VendorError, *sdk.errors) as error:
            logger.info("apify_abort_failed", run_id=run_id, error=sdk.describe(error))

    async def close(self) -> None:
        """Let unfinished starts be stored, then release the connections."""
        if self._background:
            _, unfinished = await asyncio.wait(self._background, timeout=CLOSE_SECONDS)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        if self._opening:
            await (await self._opening).client.http_client.aclose()

    async def _sdk(self) -> "Sdk":
        if self._token is None:
            raise NotConfigured(VENDOR, "APIFY_API_TOKEN is not set")
        if self._opening is None:
            self._opening = asyncio.ensure_future(asyncio.to_thread(open_sdk, self._token, self._api_url))
        return await asyncio.shield(self._opening)

    async def _start_and_report(
        self,
        actor_id: str,
        run_input: dict[str, Any],
        max_items: int,
        on_started: OnStarted | None,
        since: datetime | None,
    ) -> StartedRun:
        run = await self._find(actor_id, run_input, since) if since else None
        if run is None:
            run = await self._start(actor_id, run_input, max_items)
            logger.info("apify_run_started", actor_id=actor_id, run_id=run.id)
        if on_started:
            try:
                async with asyncio.timeout(ACCOUNT_SECONDS):
                    await on_started(run)
            except BaseException:
                logger.info("apify_run_not_accounted", run_id=run.id)
                await self.abort(run.id)
                raise
        return run

    async def _start(self, actor_id: str, run_input: dict[str, Any], max_items: int) -> StartedRun:
        async def start(sdk: "Sdk") -> StartedRun:
            run = await sdk.client.actor(actor_id).start(
                run_input=run_input,
                max_items=max_items,
                run_timeout=timedelta(seconds=max(1, math.ceil(self.timeout))),
                timeout=timedelta(seconds=START_SECONDS),
            )
            return StartedRun(run.id)

        return await self._repeat(start, paid=True)

    async def _find(self, actor_id: str, run_input: dict[str, Any], since: datetime) -> StartedRun | None:
        """Return a run for this input whose id was lost in a crash."""

        async def list_runs(sdk: "Sdk") -> Any:
            runs = sdk.client.actor(actor_id).runs()
            return await runs.list(
                limit=FOUND_RUNS, status=ALIVE, started_after=since - SKEW, timeout=timedelta(seconds=CALL_SECONDS)
            )

        async def read_input(store_id: str, sdk: "Sdk") -> Any:
            store = sdk.client.key_value_store(store_id)
            return await store.get_record("INPUT", timeout=timedelta(seconds=CALL_SECONDS))

        for run in (await self._repeat(list_runs)).items:
            record = await self._repeat(partial(read_input, run.default_key_value_store_id))
            if record and is_same_input(record["value"], run_input):
                logger.info("apify_run_found", actor_id=actor_id, run_id=run.id)
                return StartedRun(run.id)
        return None

    async def _collect(self, run_id: str, max_items: int, deadline: float) -> list[Any]:
        try:
            async with asyncio.timeout_at(deadline):
                dataset_id = await self._wait(run_id)
                items = await self._repeat(partial(self._read, dataset_id, max_items))
        except TimeoutError:
            await self.abort(run_id)
            raise VendorTimeout(VENDOR, f"run {run_id} took longer than {self.timeout:g} s") from None
        if not items:
            raise EmptyDataset(VENDOR, f"run {run_id} has no items")
        return items

    async def _wait(self, run_id: str) -> str:
        """Long-poll until the run has ended; the caller bounds it. Returns the id of its dataset."""

        async def poll(sdk: "Sdk") -> Any:
            return await sdk.client.run(run_id).wait_for_finish(
                wait_duration=timedelta(seconds=POLL_SECONDS),
                timeout=timedelta(seconds=POLL_SECONDS + CALL_SECONDS),
            )

        while True:
            run = await self._repeat(poll)
            if run is None:
                raise ActorFailed(VENDOR, f"run {run_id} is unknown")
            if run.status == "SUCCEEDED":
                value: str = run.default_dataset_id
                return value
            if run.status == "TIMED-OUT":
                raise ActorTimedOut(VENDOR, f"run {run_id}: {run.status_message}")
            if run.status in ("FAILED", "ABORTED"):
                raise ActorFailed(VENDOR, f"run {run_id} {run.status}: {run.status_message}")

    async def _read(self, dataset_id: str, max_items: int, sdk: "Sdk") -> list[Any]:
        # Streamed, so that it can be bounded, and then parsed off the event loop.
        stream = sdk.client.dataset(dataset_id).stream_items(limit=max_items, timeout=timedelta(seconds=CALL_SECONDS))
        async with stream as response:
            body = await read_bounded(response, MAX_DATASET_BYTES)
        items = await asyncio.to_thread(parse, body)
        if not isinstance(items, list):
            raise UnreadableAnswer(VENDOR, f"dataset {dataset_id} is not a list")
        return items[:max_items]

    async def _repeat(self, call: "Callable[[Sdk], Awaitable[T]]", *, paid: bool = False) -> T:
        """Repeat a read after a transient error, and a start, which is paid for, only if it was surely refused."""
        sdk = await self._sdk()
        may_repeat = sdk.is_surely_not_started if paid else sdk.is_transient
        for attempt in range(ATTEMPTS):
            try:
                return await call(sdk)
            except sdk.errors as error:
                if attempt + 1 == ATTEMPTS or not may_repeat(error):
                    raise sdk.translate(error) from error
            await asyncio.sleep(RETRY_SECONDS * 2**attempt)
        raise AssertionError("unreachable")

    async def _abort_when_started(self, start: asyncio.Task[StartedRun]) -> None:
        """Abort a run that begins after its scrape has timed out."""
        try:
            run = await start
        except Exception as error:  # no run has started
            logger.info("apify_run_never_started", error=f"{type(error).__name__}: {error}")
        else:
            await self.abort(run.id)

    def _in_background(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task that continues after its caller ends, and that `close` waits for."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


def open_sdk(token: str, api_url: str) -> "Sdk":
    """Load the SDK and create its client. It takes half a second, so the first call does it, in a thread."""
    from services.apify.sdk import Sdk

    return Sdk(token, api_url)


def is_same_input(stored: Any, ours: dict[str, Any]) -> bool:
    """Compare two inputs, ignoring letter case. The vendor may have added defaults to the stored one."""
    if not isinstance(stored, dict):
        return False
    return all(str(stored.get(key)).lower() == str(value).lower() for key, value in ours.items())


def parse(body: bytes) -> Any:
    """Parse JSON, lone surrogates included: a scraper writes one when it cuts a caption in the middle of an emoji."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswer(VENDOR, f"a dataset is not JSON: {error}") from None
