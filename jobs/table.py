"""All jobs, in the order in which they start at night."""

from jobs import data_sync, housekeeping, instagram_reminder, token_refresh
from jobs.loop import ScheduledJob

JOBS = tuple(
    ScheduledJob(module.__name__.rpartition(".")[2], module.SCHEDULE, module.run)
    for module in (token_refresh, data_sync, housekeeping, instagram_reminder)
)
