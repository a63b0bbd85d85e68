"""Rate limits as responses show them: three headers, and 429 if a limit is exhausted."""

from collections.abc import Sequence

from db.errors import RateLimited
from services.security.rate_limit import Verdict


def limit_headers(verdicts: Sequence[Verdict]) -> dict[str, str]:
    """Return headers that describe the limit with the fewest hits left."""
    if not verdicts:
        return {}
    tightest = min(verdicts, key=lambda verdict: (verdict.allowed, verdict.remaining))
    return {
        "RateLimit-Limit": str(tightest.limit),
        "RateLimit-Remaining": str(tightest.remaining),
        "RateLimit-Reset": str(tightest.reset),
    }


def find_refusal(verdicts: Sequence[Verdict], error: str | None) -> RateLimited | None:
    """Return the error that refuses a request over a limit; `error` replaces its sentence."""
    waits = [verdict.retry_after for verdict in verdicts if not verdict.allowed]
    return RateLimited(max(1, *waits), *([error] if error else [])) if waits else None
