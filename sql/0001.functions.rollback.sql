drop function search_grams(text);
drop function grams(text);
drop function fold(text);
drop function new_id();
drop function iso(timestamptz);
