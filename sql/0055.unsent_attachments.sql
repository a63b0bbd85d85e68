-- Which files are old: housekeeping asks, to find those that were never sent.
create index attachments_created_at_idx on attachments (created_at);
