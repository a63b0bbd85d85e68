"""Profiles by paid scrapes. Callers who want the same profile share one run, which is paid for once.

Callers of one instance share a task; instances share a row (db/queries/social/scrape_runs.py). A run continues when its
caller disconnects, and the next caller receives its result.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import structlog

from db.pool import DatabaseUnavailable
from db.queries.social.scrape_runs import ScrapeRuns, StoredRun
from db.tasks import supervise
from services import errors
from services.apify.runs import ApifyActors, StartedRun
from services.errors import (
    ActorFailed,
    EmptyDataset,
    NotConfigured,
    ProfileNotFound,
    ProfilePrivate,
    ProfileRestricted,
    VendorError,
    VendorRateLimited,
    VendorTimeout,
    VendorUnavailable,
    VendorUnreachable,
)
from services.slots import Slots
from services.social.profiles import Platform, SocialProfile
from services.social.public_profiles import PublicProfiles

log = structlog.get_logger()

LEASE_SECONDS = 20.0  # how long the next caller waits after an instance has died
POLL_SECONDS = 0.5  # how often an instance reads the row of another instance's run
GRACE_SECONDS = 15.0  # added to a scrape's own bound, for the database and for ending a run
MAX_RUNNING = 16  # scrapes of one instance at once, including its nightly sync
MAX_WAITING = 64  # one second's requests of the busiest hour; one more is refused, to retry later
# These failures are results for every caller; others may be temporary.
DEFINITE_NAMES = [kind.__name__ for kind in (ProfileNotFound, EmptyDataset, ProfilePrivate, ProfileRestricted)]
# The vendor was unreachable while the run continued.
TEMPORARY_FAILURES = (VendorUnreachable, VendorRateLimited)


class Fetched(NamedTuple):
    profile: SocialProfile
    started_at: datetime  # by the database's clock: the profile is not older than this
    finished_at: datetime
    shared: bool  # the run of another caller, or an earlier one

    @property
    def age(self) -> int:
        """Return the seconds since it was fetched."""
        return max(0, round((datetime.now(UTC) - self.finished_at).total_seconds()))


class RunLost(VendorUnavailable):
    """Another instance has taken the run over."""


class Scrapes:
    def __init__(
        self, actors: ApifyActors, platforms: Mapping[Platform, PublicProfiles], runs: ScrapeRuns, timeout: float
    ) -> None:
        self.actors = actors
        self.platforms = platforms
        self.runs = runs
        self.timeout = timeout + GRACE_SECONDS
        self.slots = Slots(running=MAX_RUNNING, waiting=MAX_WAITING)
        self.flights: dict[tuple[Any, ...], asyncio.Task[Fetched]] = {}

    def ensure_configured(self) -> None:
        """Raises NotConfigured where no scrape is possible."""
        if not self.actors.configured:
            raise NotConfigured("apify", "APIFY_API_TOKEN is not set")

    async def known(
        self, platform: Platform, username: str, *, max_age: float, max_no_age: float = 0.0
    ) -> Fetched | None:
        """Return the result of an earlier run, if it is recent enough. Raises its failure. Calls no vendor."""
        run = await self.runs.find(platform, username.lower(), max_age, max_no_age, DEFINITE_NAMES)
        return read_result(run) if run else None

    async def fetch(
        self,
        platform: Platform,
        username: str,
        *,
        max_age: float = 0.0,
        max_no_age: float = 0.0,
        requested_by: str | None = None,
    ) -> Fetched:
        """Return the profile from a run that ended at most `max_age` seconds ago, or that runs, or from a new run.

        A failure such as “no such profile” is reused for `max_no_age` seconds. Raises VendorError and Busy.
        """
        self.ensure_configured()
        key = (platform, username.lower(), max_age, max_no_age)
        flight = self.flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._run_shared(platform, username, max_age, max_no_age, requested_by))
            self.flights[key] = flight
            flight.add_done_callback(lambda done: self._remove_flight(key, done))
        try:
            return await asyncio.shield(flight)
        except asyncio.CancelledError:
            if flight.cancelled():  # the instance stops, not the caller
                raise VendorUnavailable("apify", "this instance is stopping") from None
            raise

    async def close(self) -> None:
        """Leave running scrapes to other instances; unfinished starts are still stored."""
        flights = list(self.flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        await self.actors.close()

    def _remove_flight(self, key: tuple[Any, ...], flight: asyncio.Task[Fetched]) -> None:
        self.flights.pop(key, None)
        if not flight.cancelled():
            flight.exception()  # marked as retrieved here, because the caller may have disconnected

    async def _run_shared(
        self, platform: Platform, username: str, max_age: float, max_no_age: float, requested_by: str | None
    ) -> Fetched:
        try:
            async with asyncio.timeout(self.timeout), self.slots.take():
                while True:
                    run = await self.runs.join(
                        platform,
                        username.lower(),
                        LEASE_SECONDS,
                        max_age=max_age,
                        max_no_age=max_no_age,
                        definite=DEFINITE_NAMES,
                        requested_by=requested_by,
                    )
                    try:
                        return await self._complete(run, platform, username) if run.ours else await self._wait(run)
                    except RunLost:
                        continue  # to the instance that has it now
        except TimeoutError:
            raise VendorTimeout("apify", f"no profile of {username} within {self.timeout:g} s") from None

    async def _complete(self, run: StoredRun, platform: Platform, username: str) -> Fetched:
        keeper = asyncio.create_task(supervise("scrape lease", lambda: self._renew(run), (DatabaseUnavailable,)))
        vendor_run_id = run.vendor_run_id

        async def store_start(started: StartedRun) -> None:
            nonlocal vendor_run_id
            if not await self.runs.note_vendor_run(run, started.id):
                raise RunLost("apify", "taken over while it started")
            vendor_run_id = started.id

        try:
            profiles = self.platforms[platform]
            if vendor_run_id:
                profile = await profiles.resume(vendor_run_id, username)
            else:
                profile = await profiles.fetch(username, store_start, since=run.started_at if run.attempt > 1 else None)
            finished_at = await self.runs.succeed(run, profile.model_dump_json())
            if finished_at is None:
                raise RunLost("apify", "taken over while it ran")
            return Fetched(profile, run.started_at, finished_at, shared=False)
        except RunLost:
            raise
        except VendorError as error:
            log.info("scrape failed", platform=platform, run=vendor_run_id, error=str(error))
            if may_continue(error, vendor_run_id):
                await self.runs.release(run)
            else:
                await self.runs.fail(run, type(error).__name__)
            raise
        except BaseException:
            # The instance stops, or there is a defect. A start without an answer is stored in the background, so the
            # run keeps its lease; a run with a known id can be continued at once.
            if vendor_run_id:
                await self.runs.release(run)
            raise
        finally:
            keeper.cancel()

    async def _renew(self, run: StoredRun) -> None:
        """Wait, then renew the lease. A run that another instance has taken over stays with it."""
        await asyncio.sleep(LEASE_SECONDS / 4)
        await self.runs.renew(run, LEASE_SECONDS)

    async def _wait(self, run: StoredRun) -> Fetched:
        """Wait for the result of another instance. Raises RunLost if its lease has expired."""
        while run.state == "RUNNING":
            await asyncio.sleep(POLL_SECONDS)
            shown = await self.runs.show(run.id)
            if shown is None:
                raise RunLost("apify", "its row is gone")
            run, left_alone = shown
            if run.state == "RUNNING" and left_alone:
                raise RunLost("apify", "abandoned by another instance")
        return read_result(run)


def may_continue(error: VendorError, vendor_run_id: str | None) -> bool:
    """Return whether the run may continue at the vendor; then the next caller continues it instead of paying again."""
    if vendor_run_id is None:  # it is unknown whether a run has started
        return isinstance(error, VendorUnavailable | VendorTimeout)
    return isinstance(error, TEMPORARY_FAILURES) or type(error) is VendorUnavailable


def read_result(run: StoredRun) -> Fetched:
    """Return the result of a stored run, or raise its failure, which names a class of services/errors.py."""
    if run.state == "FAILED" or run.profile is None or run.finished_at is None:
        kind: type[VendorError] = getattr(errors, run.failure or "", ActorFailed)
        raise kind("apify", "in a run shared with another caller")
    return Fetched(SocialProfile.model_validate_json(run.profile), run.started_at, run.finished_at, shared=True)
