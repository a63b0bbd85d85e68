-- Names and addresses are copied: the log shows them as they were, and stays when the accounts are deleted.
create table activity_logs (
    id uuid not null default new_id(),
    action text not null,
    description text not null,
    admin_id uuid,
    admin_name text,
    admin_email text,
    target_user_id uuid,
    target_user_name text,
    target_user_email text,
    ip_address text,
    user_agent text,
    metadata jsonb,
    created_at timestamptz not null default now(),
    document text collate "C" not null generated always as (fold(
        description || E'\n' || coalesce(admin_name, '') || E'\n' || coalesce(admin_email, '') || E'\n'
        || coalesce(target_user_name, '') || E'\n' || coalesce(target_user_email, ''))) stored,
    constraint activity_logs_pkey primary key (id),
    constraint activity_logs_admin_id_fkey foreign key (admin_id) references users on delete set null,
    constraint activity_logs_target_user_id_fkey foreign key (target_user_id) references users on delete set null
);
create index activity_logs_created_at_idx on activity_logs (created_at desc, id desc);
create index activity_logs_action_idx on activity_logs (action, created_at desc, id desc);

-- log_terms: return all terms by which the index finds a row: its action, and the grams of its text.
create function log_terms(action text, document text) returns text[]
    language sql immutable parallel safe cost 1000
    return array['action:' || action] || grams(document);

create index activity_logs_terms_idx on activity_logs using gin (log_terms(action, document)) with (fastupdate = off);
alter index activity_logs_terms_idx alter column 1 set statistics 0;
