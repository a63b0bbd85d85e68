"""Jobs as admins see them."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from db.schemas.shapes import Shape, Sql, Time


class JobRun(Shape):
    id: UUID
    job: str
    scheduled_for: Time
    status: Literal["RUNNING", "SUCCEEDED", "FAILED", "STOPPED"]
    runner: Annotated[str, Field(description="host:process:instance")]
    attempt: Annotated[int, Field(description="above 1: taken over from a runner that died or stopped")]
    started_at: Time
    finished_at: Time | None
    duration_ms: Annotated[
        int,
        Sql("(extract(epoch from coalesce({t}.finished_at, now()) - {t}.started_at) * 1000)::bigint"),
        Field(description="so far, while it runs"),
    ]
    counts: Annotated[dict[str, int], Sql("coalesce({t}.counts, '{}')")]
    error: str | None
    started_by: Annotated[UUID | None, Field(description="the admin who asked for it; null: the schedule")]


LAST_RUNS = 10


class Job(Shape):
    name: str
    schedule: Annotated[str, Field(description="cron, in the time zone")]
    timezone: str
    enabled: Annotated[bool, Field(description="whether this instance runs it by itself (JOBS_ENABLED)")]
    next_run_at: Time
    running: Annotated[
        bool, Sql("exists (select from job_runs {r} where {r}.job = {t}.name and {r}.status = 'RUNNING')")
    ]
    last_runs: Annotated[
        list[JobRun],
        Sql(
            f"coalesce((select json_agg({JobRun.sql('{r}')} order by {{r}}.started_at desc)"
            f" from (select * from job_runs {{q}} where {{q}}.job = {{t}}.name"
            f" order by {{q}}.started_at desc limit {LAST_RUNS}) {{r}}), '[]')"
        ),
    ]
