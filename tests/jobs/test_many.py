"""A run with many due accounts of which 3 % fail: all others are synced, and memory is independent of their number.

There are 600 in `make test` and 1,000 in `make check`. Five thousand take a minute on two cores:
`DUE_ACCOUNTS=5000 .venv/bin/python -m pytest --async-test-timeout=600 tests/jobs/test_many.py`
"""

import gc
import os
from collections import Counter
from itertools import count

from db.queries.job_runs import claim_by_hand
from jobs import data_sync
from tests.helpers.jobs import add_many, finished, make_loop
from tests.helpers.programs import long_test
from tests.vendors import people as vendor_people

DUE = int(os.environ.get("DUE_ACCOUNTS", "1000"))
FAILING = {f"many.{number}" for number in range(33, DUE + 1, 33)}
SECONDS = max(250.0, DUE / 10)
MOMENTS = (DUE // 2, DUE - DUE // 10)  # parts of the run, at which memory is compared
SAMPLES = 4  # samples at each moment; the smallest counts, because the number of running scrapes varies
GROWTH = 2 * (MOMENTS[1] - MOMENTS[0])  # objects: two for each account in between; one profile has twenty

ACCOUNTS = """
    select username, sync_failures, round(extract(epoch from next_sync_at - now()) / 3600)::int as hours
    from social_media_accounts
"""


@long_test()
async def test_many_due_accounts(instance, apify, db, monkeypatch):
    monkeypatch.setattr(vendor_people, "POSTS", 1)  # the stand-in runs on the same core
    await add_many(db, DUE)
    apify.behaviours |= dict.fromkeys(FAILING, "failed")
    sizes: dict[int, list[int]] = {moment: [] for moment in MOMENTS}
    start = apify.start

    measured = count(1)

    def measure(run) -> None:
        start(run)
        apify.runs.pop(next(iter(apify.runs))) if len(apify.runs) > 200 else None
        apify.calls.clear()
        number = next(measured)
        for moment in MOMENTS:
            if moment <= number < moment + SAMPLES:
                gc.collect()
                sizes[moment].append(len(gc.get_objects()))

    monkeypatch.setattr(apify, "start", measure)
    loop = make_loop(instance, data_sync.run, name="data_sync")
    loop.launch(await claim_by_hand(db, "data_sync", loop.runner, None))
    await finished(loop, within=SECONDS)
    row = await db.fetchrow("select status, counts->>'synced' as synced, counts->>'failed' as failed from job_runs")
    assert tuple(row) == ("SUCCEEDED", str(DUE - len(FAILING)), str(len(FAILING)))
    rows = await db.fetch(ACCOUNTS)
    waits = Counter((row["sync_failures"], row["hours"]) for row in rows)
    assert waits == {(0, 168): DUE - len(FAILING), (1, 1): len(FAILING)}
    assert {row["username"] for row in rows if row["sync_failures"]} == FAILING
    assert next(measured) == DUE + 1
    before, after = (min(sizes[moment]) for moment in MOMENTS)
    assert after - before < GROWTH, sizes
