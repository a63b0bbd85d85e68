drop table sessions;
drop table otps;
