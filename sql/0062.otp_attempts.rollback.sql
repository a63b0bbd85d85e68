drop table otp_attempts;
