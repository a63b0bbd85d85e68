"""When a cron schedule is due in a time zone: croniter on the clock on the wall, and each wall-clock time once.

croniter 7 itself, given times with a zone, runs a time that occurs twice (clocks set back) twice, and can run off to
the year 0 when it looks back over one. So it only ever sees wall-clock times here. What the clocks skip is due at the
moment they jump; what they repeat is due the first time.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter

LARGEST_SHIFT = timedelta(hours=3)  # clocks are set by 2 hours at most; wall-clock order is not the order of time there
SECOND = timedelta(seconds=1)


class Schedule:
    """`cron` in the time zone `timezone`; moments are aware, ticks in UTC."""

    def __init__(self, cron: str, timezone: str) -> None:
        self.cron = cron
        self.timezone = timezone
        self.zone = ZoneInfo(timezone)

    def latest(self, now: datetime) -> datetime:
        """The newest tick that is not after `now`."""
        ticks = croniter(self.cron, self._wall_clock(now) + LARGEST_SHIFT)
        while (tick := self._moment(ticks.get_prev(datetime))) > now:
            pass
        return tick

    def next(self, now: datetime) -> datetime:
        """The first tick after `now`."""
        ticks = croniter(self.cron, self._wall_clock(now) - LARGEST_SHIFT)
        while (tick := self._moment(ticks.get_next(datetime))) <= now:
            pass
        return tick

    def _wall_clock(self, moment: datetime) -> datetime:
        return moment.astimezone(self.zone).replace(tzinfo=None)

    def _moment(self, wall_clock: datetime) -> datetime:
        """When the clock on the wall shows this (the first time), or jumps over it."""
        moment = wall_clock.replace(tzinfo=self.zone).astimezone(UTC)
        if self._wall_clock(moment) == wall_clock:
            return moment
        # Skipped. Read with the offset after the jump it lies before the jump, and the other way round.
        before, after = wall_clock.replace(tzinfo=self.zone, fold=1).astimezone(UTC), moment
        old_offset = before.astimezone(self.zone).utcoffset()
        while after - before > SECOND:
            middle = before + (after - before) / 2
            if middle.astimezone(self.zone).utcoffset() == old_offset:
                before = middle
            else:
                after = middle
        return after.replace(microsecond=0)
