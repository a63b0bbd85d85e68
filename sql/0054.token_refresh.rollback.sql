drop index scrape_runs_ended_at_idx;
drop index social_media_accounts_oauth_idx;
alter table social_media_accounts drop column tokens_refreshed_at;
