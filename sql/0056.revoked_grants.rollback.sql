alter table token_revocations drop column refresh_token;
