-- Activity logs by text and action, as the directory.
alter table activity_logs add column document text collate "C" not null generated always as (fold(
    description || E'\n' || coalesce(admin_name, '') || E'\n' || coalesce(admin_email, '') || E'\n'
    || coalesce(target_user_name, '') || E'\n' || coalesce(target_user_email, ''))) stored;

create function log_terms(action text, document text) returns text[]
    language sql immutable parallel safe cost 1000
    return array['action:' || action] || grams(document);

create index activity_logs_terms_idx on activity_logs using gin (log_terms(action, document)) with (fastupdate = off);
alter index activity_logs_terms_idx alter column 1 set statistics 0;
