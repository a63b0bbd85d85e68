alter table influencers add column followers_count bigint not null default 0,
    add column engagement_rate double precision not null default 0;
