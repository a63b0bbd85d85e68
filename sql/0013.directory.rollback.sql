-- Loses no data: the migration fills the table again.
drop trigger salons_directory on salons;
drop trigger users_directory on users;
drop function refresh_salon_directory();
drop function refresh_user_directory();
drop function refresh_directory(uuid);
drop view directory_sources;
drop table directory;
drop function directory_terms(text, text, boolean, text);
