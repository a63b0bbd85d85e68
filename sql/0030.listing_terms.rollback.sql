drop function listing_terms(text, text, text[], bigint, text);
drop function follower_step(bigint);
drop function search_grams(text);
drop function grams(text);
drop function fold(text);
