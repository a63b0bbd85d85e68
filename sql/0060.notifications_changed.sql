-- What every instance asks every second or two: which notifications of the users it holds have changed?
create index notifications_updated_at_idx on notifications (updated_at);
