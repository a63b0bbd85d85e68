-- Admins sort the people of the platform by name too; by time and e-mail address there are indexes already.
create index users_name_idx on users (lower(name), id);
