-- An access token that is to be revoked may have expired by then; the grant that it belongs to has not, and is ended by
-- way of its refresh token. Null in rows from before.
alter table token_revocations add column refresh_token bytea;
