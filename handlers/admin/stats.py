"""The dashboard and the activity log of admins."""

from datetime import datetime
from typing import Annotated

from db.queries.search import LATEST, WALK, WALK_NUMBERED, contains, find_page, grams_of
from db.schemas.admin import (
    AccountCounts,
    ActivityLog,
    Charts,
    ConnectionCounts,
    Dashboard,
    GrowthDay,
    MessageCounts,
    Statistics,
    StatusCount,
    UserCounts,
)
from db.schemas.facts import about
from db.schemas.fields import BlankAsNone, Id, Line
from handlers.http.base import Handler
from handlers.http.endpoint import ADMIN, NumberedPaging, endpoint
from handlers.http.paging import Cursor, fetch_page, window

CHART_DAYS = 30
RECENT_DAYS = 30

# Admins and deleted accounts are not counted. Days begin at midnight UTC.
SHOW_DASHBOARD = f"""
    with people as not materialized (
        select * from users where role <> 'ADMIN' and status <> 'DELETED'
    ), users_counted as (
        select count(*) as total,
            count(*) filter (where role = 'INFLUENCER') as influencers,
            count(*) filter (where role = 'SALON') as salons,
            count(*) filter (where email_verified_at is not null) as verified,
            count(*) filter (where email_verified_at is null) as unverified,
            count(*) filter (where onboarded_at is not null) as completed_onboarding,
            count(*) filter (where created_at > now() - interval '{RECENT_DAYS} days') as recent_signups
        from people
    ), requests_counted as (
        select count(*) as total,
            count(*) filter (where status = 'PENDING') as pending,
            count(*) filter (where status = 'ACCEPTED') as accepted,
            count(*) filter (where status = 'REJECTED') as rejected,
            count(*) filter (where created_at > now() - interval '{RECENT_DAYS} days') as recent
        from connection_requests
    ), accounts_counted as (
        select count(*) as total,
            count(*) filter (where platform = 'INSTAGRAM') as instagram,
            count(*) filter (where platform = 'TIKTOK') as tiktok
        from social_media_accounts where is_active
    ), messages_counted as (
        select count(*) as total from messages
    ), seen as (
        select user_id as id from sessions where rotated_at >= current_date
        union
        select id from users where last_seen_at >= current_date
    ), growth as (
        select d.day::date as date,
            count(p.id) filter (where p.role = 'INFLUENCER') as influencers,
            count(p.id) filter (where p.role = 'SALON') as salons
        from generate_series(current_date - {CHART_DAYS - 1}, current_date, interval '1 day') as d(day)
        left join people p on p.created_at >= current_date - {CHART_DAYS - 1} and p.created_at::date = d.day::date
        group by d.day
    ), answers as (
        select 1 as place, 'Pending' as status, pending as count from requests_counted
        union all select 2, 'Accepted', accepted from requests_counted
        union all select 3, 'Rejected', rejected from requests_counted
    )
    select {
    Dashboard.sql(
        "",
        stats=Statistics.sql(
            "",
            users=UserCounts.row("users_counted c"),
            connections=ConnectionCounts.row("requests_counted c"),
            social_media=AccountCounts.row("accounts_counted c"),
            messages=MessageCounts.row("messages_counted c"),
            active_today="(select count(*) from people join seen using (id))",
        ),
        charts=Charts.sql(
            "",
            user_growth=f"(select json_agg({GrowthDay.sql('g')} order by g.date) from growth g)",
            connection_stats=f"(select json_agg({StatusCount.sql('a')} order by a.place) from answers a)",
        ),
    )
}
"""


class DashboardStats(Handler):
    @endpoint(ADMIN, returns=Dashboard)
    async def get(self) -> None:
        """Return the counts and the charts of the dashboard."""
        self.reply(await self.db.fetchval(SHOW_DASHBOARD))


ActionName = Annotated[str, Line(50), about("Only entries of this action", "USER_SUSPENDED")]
LogSearch = Annotated[str, Line(100), about("A part of the admin, the user or the description", "hanako")]


class LogQuery(NumberedPaging):
    action: Annotated[ActionName | None, BlankAsNone] = None
    search: Annotated[LogSearch | None, BlankAsNone] = None


# $1 is the action, $2 the text; null matches everything.
FOUND = f"""
    from activity_logs f
    where log_terms(f.action, f.document) @> (select array_remove(array['action:' || $1], null) || {grams_of("$2")})
        and ($1::text is null or f.action = $1) and ($2::text is null or {contains("f.document", "$2")})
"""

COUNT_ACTIVITIES = f"""
    select case when num_nonnulls($1::text, $2::text) = 0 then (select count(*) from activity_logs)
        when $2::text is null then (select count(*) from activity_logs where action = $1)
        else (select count(*) {FOUND}) end
"""


def list_activities(walk: int) -> str:
    """Return the statement for a page: (body, created_at, id) after key ($3, $4), at most $5, skipping $6."""
    key = LATEST.key("$3", "$4")
    page = find_page(
        LATEST,
        "id",
        key,
        rows=f"activity_logs r where {LATEST.after('r.created_at', 'r.id', key)}",
        matches=f"($1::text is null or w.action = $1) and ($2::text is null or {contains('w.document', '$2')})",
        found=f"select f.id, f.created_at as key {FOUND}",
        fetch="$5",
        offset="$6",
        walk=walk,
    )
    return f"""
        with {page}
        select {ActivityLog.sql("l")}, page.key, page.id from page join activity_logs l on l.id = page.id
        {LATEST.by("page.key", "page.id")}
    """


LIST_ACTIVITIES = list_activities(WALK)
LIST_ACTIVITIES_DEEP = list_activities(WALK_NUMBERED)

BY_CREATION = Cursor(datetime, Id)


class ActivityLogs(Handler):
    @endpoint(ADMIN, query=LogQuery, returns=list[ActivityLog])
    async def get(self, query: LogQuery) -> None:
        """List activities of admins, newest first; `search` matches admin, target and description."""
        asked, sought = window(query, BY_CREATION), (query.action, query.search)
        statement = LIST_ACTIVITIES_DEEP if asked.offset else LIST_ACTIVITIES
        arguments = (*sought, *asked.key, asked.fetch, asked.offset)
        self.reply_page(await fetch_page(self.db, asked, BY_CREATION, statement, COUNT_ACTIVITIES, *arguments))


routes = [
    ("/admin/dashboard/stats", DashboardStats),
    ("/admin/activity-logs", ActivityLogs),
]
