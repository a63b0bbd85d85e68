-- Loses no data: the migration fills the table again.
drop trigger social_media_accounts_listing on social_media_accounts;
drop trigger salons_listing on salons;
drop trigger influencers_listing on influencers;
drop trigger users_listing on users;
drop function refresh_account_listing();
drop function refresh_profile_listing();
drop function refresh_user_listing();
drop function refresh_listing(uuid);
drop view listing_sources;
drop table listings;
drop function listing_terms(text, text, text[], bigint, text);
drop function follower_step(bigint);
