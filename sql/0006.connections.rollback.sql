drop table connection_requests;
