-- Names and addresses are copied: the log tells what was so when it happened, and outlives the accounts.
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
    constraint activity_logs_pkey primary key (id),
    constraint activity_logs_admin_id_fkey foreign key (admin_id) references users on delete set null,
    constraint activity_logs_target_user_id_fkey foreign key (target_user_id) references users on delete set null
);
create index activity_logs_created_at_idx on activity_logs (created_at desc, id desc);
create index activity_logs_action_idx on activity_logs (action, created_at desc, id desc);
