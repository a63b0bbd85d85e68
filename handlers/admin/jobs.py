"""Jobs for admins: list schedules and the latest runs, and start a run."""

from datetime import UTC, datetime

from db.errors import NotFound
from db.queries.job_runs import claim_by_hand
from db.schemas.jobs import Job, JobRun
from handlers.admin.activity import AdminHandler
from handlers.http.base import Handler
from handlers.http.endpoint import ADMIN, endpoint

# The program defines the jobs and there are few, so the list has no pages.
LIST_JOBS = f"""
    select {Job.sql("j", timezone="$4::text", enabled="$5::boolean")}
    from unnest($1::text[], $2::text[], $3::timestamptz[]) with ordinality j(name, schedule, next_run_at, position)
    order by j.position
"""


class ListJobs(Handler):
    @endpoint(ADMIN, returns=list[Job])
    async def get(self) -> None:
        """List the jobs with schedule, next run and latest runs, newest run first."""
        jobs = self.application.jobs
        schedules, now = list(jobs.schedules.values()), datetime.now(UTC)
        ticks = [schedule.next(now) for schedule in schedules]
        crons = [schedule.cron for schedule in schedules]
        timezone = self.application.config.jobs_timezone
        rows = await self.db.fetch(LIST_JOBS, list(jobs.schedules), crons, ticks, timezone, jobs.scheduled)
        self.reply([row[0] for row in rows])


SHOW_RUN = f"select {JobRun.sql('r')} from job_runs r where r.id = $1"


class RunJob(AdminHandler):
    @endpoint(ADMIN, returns=JobRun, statuses=(202,), errors=("CONFLICT",))
    async def post(self, name: str) -> None:
        """Run a job now on this instance; the list of jobs shows its counts. 409 while the job already runs."""
        jobs = self.application.jobs
        if name not in jobs.schedules:
            raise NotFound("Job")
        async with self.db.transaction() as tx:
            claimed = await claim_by_hand(tx, name, jobs.runner, self.caller.id)
            await self.log(tx, "JOB_STARTED", f"Started the job {name}", job=name, runId=claimed.id)
            started = await tx.fetchval(SHOW_RUN, claimed.id)
            # If the process dies before this, another instance runs the job after the lease has expired.
            tx.after_commit(jobs.launch, claimed)
        self.reply(started, message=f"The job {name} has started", status=202)


routes = [
    ("/admin/jobs", ListJobs),
    ("/admin/jobs/{name:str}/run", RunJob),
]
