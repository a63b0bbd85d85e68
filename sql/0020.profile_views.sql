-- Who saw whose profile, and on which day last: one notification a viewer and day, also when it was deleted since.
create table profile_views (
    viewed_id uuid not null,
    viewer_id uuid not null,
    viewed_on date not null,
    constraint profile_views_pkey primary key (viewed_id, viewer_id),
    constraint profile_views_viewed_id_fkey foreign key (viewed_id) references users on delete cascade,
    constraint profile_views_viewer_id_fkey foreign key (viewer_id) references users on delete cascade
);
create index profile_views_viewer_id_idx on profile_views (viewer_id);
-- It served the same question.
drop index notifications_profile_view_idx;
