"""Compute when a cron schedule is due in a time zone: croniter on local times, each local time once.

If croniter 7 gets times with a zone, it runs a time that occurs twice (clocks set back) twice, and can go back to
the year 0 when it searches backwards over one. So it gets only local times here. A time that the clocks skip is due
when they jump; a time that they repeat is due the first time.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter

LARGEST_SHIFT = timedelta(hours=3)  # clocks change by 2 hours at most; near a change local times are not in order
SECOND = timedelta(seconds=1)


class Schedule:
    """`cron` in the time zone `timezone`; moments are aware, ticks in UTC."""

    def __init__(self, cron: str, timezone: str) -> None:
        self.cron = cron
        self.timezone = timezone
        self.zone = ZoneInfo(timezone)
        self._newest = self._following = datetime.min.replace(tzinfo=UTC)

    def latest(self, now: datetime) -> datetime:
        """Return the newest tick that is not after `now`."""
        # A loop asks every few seconds, and croniter takes 0.2 ms: search again only after the following tick.
        if not self._newest <= now < self._following:
            self._newest = self._search_back(now)
            self._following = self.next(now)
        return self._newest

    def next(self, now: datetime) -> datetime:
        """Return the first tick after `now`."""
        ticks = croniter(self.cron, self._wall_clock(now) - LARGEST_SHIFT)
        while (tick := self._moment(ticks.get_next(datetime))) <= now:
            pass
        return tick

    def _search_back(self, now: datetime) -> datetime:
        ticks = croniter(self.cron, self._wall_clock(now) + LARGEST_SHIFT)
        while (tick := self._moment(ticks.get_prev(datetime))) > now:
            pass
        return tick

    def _wall_clock(self, moment: datetime) -> datetime:
        return moment.astimezone(self.zone).replace(tzinfo=None)

    def _moment(self, wall_clock: datetime) -> datetime:
        """Return when the local clock shows this time (the first time), or skips it."""
        moment = wall_clock.replace(tzinfo=self.zone).astimezone(UTC)
        if self._wall_clock(moment) == wall_clock:
            return moment
        # Skipped: with the offset after the jump it lies before the jump, and vice versa.
        before, after = wall_clock.replace(tzinfo=self.zone, fold=1).astimezone(UTC), moment
        old_offset = before.astimezone(self.zone).utcoffset()
        while after - before > SECOND:
            middle = before + (after - before) / 2
            if middle.astimezone(self.zone).utcoffset() == old_offset:
                before = middle
            else:
                after = middle
        return after.replace(microsecond=0)
