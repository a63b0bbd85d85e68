-- Admins list the requests of a status, newest first.
create index connection_requests_status_idx on connection_requests (status, created_at, id);
