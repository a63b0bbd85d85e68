drop function new_id();
drop function iso(timestamptz);
