-- Reach is kept in one place: the listing takes it from the accounts by itself, whoever writes those.
alter table influencers drop column followers_count, drop column engagement_rate;
