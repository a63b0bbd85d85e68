drop table activity_logs;
