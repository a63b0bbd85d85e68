"""All jobs, in the order of their night."""

from jobs import housekeeping, instagram_reminder
from jobs.loop import Job

JOBS = tuple(
    Job(module.__name__.rpartition(".")[2], module.SCHEDULE, module.run)
    for module in (housekeeping, instagram_reminder)
)
