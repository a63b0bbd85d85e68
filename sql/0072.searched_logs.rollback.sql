drop index activity_logs_terms_idx;
drop function log_terms(text, text);
alter table activity_logs drop column document;
