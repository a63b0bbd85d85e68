delete from oauth_states where verifier is null;
alter table oauth_states drop column answer_hash, drop column answered_at, drop column outcome,
    alter column verifier set not null;
