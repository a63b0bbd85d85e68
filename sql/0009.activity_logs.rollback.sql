drop table activity_logs;
drop function log_terms(text, text);
