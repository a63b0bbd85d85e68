-- iso: the one way a time is written on the wire, UTC with milliseconds and Z.
create function iso(moment timestamptz) returns text
    language sql immutable parallel safe strict
    return to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');

-- new_id: the one way a row is named.
create function new_id() returns uuid language sql volatile return gen_random_uuid();
