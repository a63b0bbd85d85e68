drop table job_runs;
drop table email_outbox;
