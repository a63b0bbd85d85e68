drop table known_networks;
drop table sign_ups;
drop table otp_attempts;
drop table sessions;
drop table otps;
