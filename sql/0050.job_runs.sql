-- The last runs of a job, newest first.
create index job_runs_started_at_idx on job_runs (job, started_at desc);
-- An attempt is a runner's turn: whoever takes over raises it, and the one before can no longer write.
alter table job_runs add constraint job_runs_attempt_check check (attempt >= 1);
