"""Jobs are due once a day in every time zone, also on days on which clocks change."""

from datetime import UTC, date, datetime, timedelta

import pytest

from jobs.table import JOBS
from services.schedule import Schedule

DAYS_2026 = [date(2026, 1, 1) + timedelta(days=number) for number in range(365)]
MINUTE = timedelta(minutes=1)
ZONES = ["Asia/Tokyo", "Europe/Berlin", "America/New_York"]
# Both changes of 2026, by zone, from the day before to the day after.
CHANGES = {"Europe/Berlin": ["2026-03-28", "2026-10-24"], "America/New_York": ["2026-03-07", "2026-10-31"]}


def ticks_of_2026(schedule: Schedule) -> list[datetime]:
    ticks, now = [], datetime(2025, 12, 30, tzinfo=UTC)
    while now < datetime(2027, 1, 3, tzinfo=UTC):
        now = schedule.next(now)
        ticks.append(now)
    return ticks


@pytest.mark.parametrize("zone", [*ZONES, "Australia/Lord_Howe", "America/Havana", "Antarctica/Troll"])
@pytest.mark.parametrize("cron", ["0 2 * * *", "30 2 * * *", "30 1 * * *", "0 0 * * *"])
def test_every_day_of_a_year_has_one_tick(zone: str, cron: str):
    schedule = Schedule(cron, zone)
    days = [tick.astimezone(schedule.zone).date() for tick in ticks_of_2026(schedule)]
    assert [day for day in days if day.year == 2026] == DAYS_2026


@pytest.mark.parametrize(("zone", "day"), [(zone, day) for zone, days in CHANGES.items() for day in days])
@pytest.mark.parametrize("cron", [*{job.schedule for job in JOBS}, "30 2 * * *", "30 1 * * *"])
def test_a_loop_that_checks_every_minute_finds_one_time_a_day(zone: str, day: str, cron: str):
    """`latest` never goes back, never repeats a day and never skips one."""
    schedule = Schedule(cron, zone)
    start = datetime.fromisoformat(day).replace(tzinfo=schedule.zone).astimezone(UTC)
    seen = [schedule.latest(start + number * MINUTE) for number in range(3 * 24 * 60)]
    assert seen == sorted(seen)
    days = [tick.astimezone(schedule.zone).date() for tick in sorted(set(seen))]
    assert days == [days[0] + timedelta(days=number) for number in range(len(days))]
    assert len(days) in (3, 4)
    for number, tick in enumerate(seen):
        assert timedelta(0) <= start + number * MINUTE - tick <= timedelta(hours=25)


@pytest.mark.parametrize(
    ("zone", "cron", "after", "tick"),
    [
        ("UTC", "0 2 * * *", "2026-03-28T12:00", "2026-03-29T02:00"),
        ("Asia/Tokyo", "0 2 * * *", "2026-03-28T12:00", "2026-03-28T17:00"),
        ("Europe/Berlin", "0 2 * * *", "2026-03-28T12:00", "2026-03-29T01:00"),  # 02:00 does not exist: at 03:00
        ("Europe/Berlin", "30 2 * * *", "2026-03-28T12:00", "2026-03-29T01:00"),
        ("Europe/Berlin", "0 2 * * *", "2026-10-24T12:00", "2026-10-25T00:00"),  # 02:00 occurs twice: the first one
        ("Europe/Berlin", "0 2 * * *", "2026-10-25T00:00", "2026-10-26T01:00"),
        ("Europe/Berlin", "0 2 * * *", "2026-10-25T01:00", "2026-10-26T01:00"),  # while the time occurs the second time
        ("America/New_York", "30 2 * * *", "2026-03-07T12:00", "2026-03-08T07:00"),
        ("America/New_York", "30 1 * * *", "2026-10-31T12:00", "2026-11-01T05:30"),
        ("America/New_York", "30 1 * * *", "2026-11-01T05:30", "2026-11-02T06:30"),
    ],
)
def test_skipped_times_run_at_the_jump_and_repeated_times_run_once(zone, cron, after, tick):
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    due = datetime.fromisoformat(tick).replace(tzinfo=UTC)
    schedule = Schedule(cron, zone)
    assert schedule.next(moment) == due
    assert schedule.latest(due) == due
    assert schedule.latest(due - timedelta(microseconds=1)) < due


def test_the_jobs_are_due_when_the_contract_says():
    assert {job.name: job.schedule for job in JOBS} == {
        "token_refresh": "0 2 * * *",
        "data_sync": "0 3 * * *",
        "instagram_reminder": "0 10 * * *",
        "housekeeping": "30 4 * * *",
    }
