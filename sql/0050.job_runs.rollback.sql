alter table job_runs drop constraint job_runs_attempt_check;
drop index job_runs_started_at_idx;
