create index notifications_profile_view_idx on notifications (user_id, actor_id, created_at) where type = 'PROFILE_VIEW';
drop table profile_views;
