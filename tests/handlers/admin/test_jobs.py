"""Admins list and run jobs, one run at a time, and the log names the admin."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest

from jobs.table import JOBS
from tests.helpers.admins import FROM, only_log
from tests.helpers.jobs import finished


async def test_the_jobs_their_schedules_and_next_ticks(api, people):
    jobs = (await api.get("/admin/jobs", await people.admin())).data
    assert [job["name"] for job in jobs] == [job.name for job in JOBS]
    for job in jobs:
        assert (job["timezone"], job["running"], job["lastRuns"]) == ("UTC", False, [])
        minute, hour = job["schedule"].split()[:2]
        tick = datetime.fromisoformat(job["nextRunAt"])
        assert (tick.minute, tick.hour) == (int(minute), int(hour))
        assert 0 < (tick - datetime.now(UTC)).total_seconds() <= 86400


async def test_an_admin_runs_a_job(api, instance, people, db):
    admin = await people.admin()
    answer = await api.post("/admin/jobs/housekeeping/run", user=admin, headers=FROM)
    assert answer.status == 202
    assert (answer.data["status"], answer.data["startedBy"]) == ("RUNNING", admin.id)
    await finished(instance.jobs)
    (run,) = next(job for job in (await api.get("/admin/jobs", admin)).data if job["name"] == "housekeeping")[
        "lastRuns"
    ]
    assert (run["id"], run["status"], run["error"]) == (answer.data["id"], "SUCCEEDED", None)
    assert run["finishedAt"] is not None
    assert run["durationMs"] >= 0
    log = await only_log(db, admin, "JOB_STARTED")
    assert "housekeeping" in log["description"]
    assert UUID(run["id"])


async def test_many_admins_start_one_run(api, other_api, instance, other_instance, people, db):
    admin = await people.admin()
    answers = await asyncio.gather(
        *(one.post("/admin/jobs/instagram_reminder/run", user=admin) for one in (api, other_api) * 3)
    )
    await finished(instance.jobs, other_instance.jobs)
    started = [answer for answer in answers if answer.status == 202]
    runs = await db.fetchval("select count(*) from job_runs where status = 'SUCCEEDED'")
    logs = await db.fetchval("select count(*) from activity_logs where action = 'JOB_STARTED'")
    assert runs == logs == len(started) >= 1
    assert all(answer.body["error"] == "This job is already running" for answer in answers if answer not in started)


async def test_a_running_job_is_a_409_and_leaves_no_log(api, people, db):
    await db.execute(
        "insert into job_runs (job, scheduled_for, runner, lease_until)"
        " values ('housekeeping', now(), 'another instance', now() + interval '1 minute')"
    )
    admin = await people.admin()
    answer = await api.post("/admin/jobs/housekeeping/run", user=admin)
    assert (answer.status, answer.code) == (409, "CONFLICT")
    assert await db.fetchval("select count(*) from activity_logs") == 0
    shown = {job["name"]: job["running"] for job in (await api.get("/admin/jobs", admin)).data}
    assert shown == {job.name: job.name == "housekeeping" for job in JOBS}


async def test_a_dead_run_does_not_keep_an_admin_waiting(api, instance, people, db):
    await db.execute(
        "insert into job_runs (job, scheduled_for, runner, lease_until)"
        " values ('housekeeping', now(), 'a dead instance', now() - interval '1 second')"
    )
    assert (await api.post("/admin/jobs/housekeeping/run", user=await people.admin())).status == 202
    await finished(instance.jobs)
    statuses = await db.fetchval("select array_agg(status order by started_at) from job_runs")
    assert statuses == ["FAILED", "SUCCEEDED"]


async def test_only_the_last_runs_are_shown_newest_first(api, people, db):
    await db.execute("""
        insert into job_runs (job, scheduled_for, runner, lease_until, status, started_at, finished_at)
        select 'housekeeping', now() - n * interval '1 day', n, now(), 'SUCCEEDED', now() - n * interval '1 day', now()
        from generate_series(1, 30) n
    """)
    jobs = (await api.get("/admin/jobs", await people.admin())).data
    runs = next(job for job in jobs if job["name"] == "housekeeping")["lastRuns"]
    assert [run["runner"] for run in runs] == [str(number) for number in range(1, 11)]


@pytest.mark.parametrize("name", ["nothing", "../users", "%00", "HOUSEKEEPING"])
async def test_an_unknown_job(api, people, name):
    assert (await api.post(f"/admin/jobs/{name}/run", user=await people.admin())).status == 404
