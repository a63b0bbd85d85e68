drop table scrape_runs;
drop table social_media_posts;
drop table social_media_accounts;
