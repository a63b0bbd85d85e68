-- Networks from which an account was signed in to, so that strangers who guess its password cannot lock its owner out.
-- Only a keyed hash of the network is kept.
create table known_networks (
    user_id uuid not null,
    network_hash bytea not null,
    last_used_at timestamptz not null default now(),
    constraint known_networks_pkey primary key (user_id, network_hash),
    constraint known_networks_user_id_fkey foreign key (user_id) references users on delete cascade
);
create index known_networks_last_used_at_idx on known_networks (last_used_at);
