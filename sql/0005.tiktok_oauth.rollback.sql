drop table token_revocations;
drop table oauth_states;
