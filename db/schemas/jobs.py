"""The shapes of jobs and their runs, for admins."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from db.schemas.facts import about
from db.schemas.shape import Shape, Sql, Time


class JobRun(Shape):
    """A run of a job."""

    id: UUID = about("Id of the run", "9f8e7d6c-5b4a-4f3e-9d2c-0b1a2f3e4d5c")
    job: str = about("Name of the job", "data_sync")
    scheduled_for: Time = about("The time that it was scheduled for", "2026-02-01T03:00:00.000Z")
    status: Literal["RUNNING", "SUCCEEDED", "FAILED", "STOPPED"] = about("Status of the run", "SUCCEEDED")
    runner: str = about("`host:process:instance` that runs it", "web-1:4711:a1b2")
    attempt: int = about("Above 1 if another runner has stopped or crashed before", 1)
    started_at: Time = about("When it started", "2026-02-01T03:00:01.120Z")
    finished_at: Time | None = about("When it ended", "2026-02-01T03:02:45.900Z")
    duration_ms: Annotated[
        int,
        Sql("(extract(epoch from coalesce({t}.finished_at, now()) - {t}.started_at) * 1000)::bigint"),
    ] = about("Duration in milliseconds; so far, while it runs", 164780)
    counts: Annotated[dict[str, int], Sql("coalesce({t}.counts, '{}')")] = about(
        "Number of items by result", {"synced": 41, "failed": 1}
    )
    error: str | None = about("Why it failed; null if it did not", None, "DatabaseUnavailable")
    started_by: UUID | None = about(
        "Id of the admin who started it; null if the schedule did", "a1b2c3d4-e5f6-4a7b-8c9d-0e1f2a3b4c5d"
    )


LAST_RUNS = 10


class Job(Shape):
    """A job with its schedule."""

    name: str = about("Name of the job", "data_sync")
    schedule: str = about("Cron expression in this time zone", "0 3 * * *")
    timezone: str = about("Time zone of the schedule", "UTC")
    enabled: bool = about("Whether the schedule starts it on this instance (`JOBS_ENABLED`)", True)
    next_run_at: Time = about("When the schedule starts it next", "2026-02-02T03:00:00.000Z")
    running: Annotated[
        bool, Sql("exists (select from job_runs {r} where {r}.job = {t}.name and {r}.status = 'RUNNING')")
    ] = about("Whether a run is in progress", False)
    last_runs: Annotated[
        list[JobRun],
        Sql(
            f"coalesce((select json_agg({JobRun.sql('{r}')} order by {{r}}.started_at desc)"
            f" from (select * from job_runs {{q}} where {{q}}.job = {{t}}.name"
            f" order by {{q}}.started_at desc limit {LAST_RUNS}) {{r}}), '[]')"
        ),
    ] = Field(description="The last 10 runs, newest first")
