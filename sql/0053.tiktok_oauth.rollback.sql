alter table social_media_accounts drop column refresh_claimed_until;
drop table token_revocations;
drop table oauth_states;
