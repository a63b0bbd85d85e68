-- A sign-in at TikTok that has come back: what it came back with, and how it ended. A reload of the page is answered alike.
alter table oauth_states alter column verifier drop not null,  -- null once it has been used
    add column answer_hash bytea,                              -- of the code or the error; null before
    add column answered_at timestamptz,
    add column outcome text;                                   -- null while the code is exchanged
