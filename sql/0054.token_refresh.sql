-- When tokens were last renewed: a run of the nightly refresh that was cut short goes on where it was.
alter table social_media_accounts add column tokens_refreshed_at timestamptz;
create index social_media_accounts_oauth_idx on social_media_accounts (id)
    where is_active and connection = 'OAUTH' and not needs_reconnect;
create index scrape_runs_ended_at_idx on scrape_runs (finished_at) where finished_at is not null;
