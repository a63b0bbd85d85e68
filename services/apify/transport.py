"""The SDK's transport, with a bound on the memory and the time that a response body takes.

Without the bounds, it reads responses of any size completely.
"""

import asyncio
from typing import Any

import impit
from apify_client.http_clients import ImpitHttpClientAsync

from services.apify.bounded import read_bounded
from services.metrics import vendor_call

MAX_ANSWER_BYTES = 1024 * 1024  # a run, as JSON, is about 5 KB


class BoundedHttpClient(ImpitHttpClientAsync):
    # `timeout` is the SDK's: seconds for one attempt.
    async def send_request(self, *, timeout: float | None, stream: bool, **request: Any) -> impit.Response:  # noqa: ASYNC109
        try:
            async with asyncio.timeout(timeout):
                with vendor_call("apify") as call:
                    response = await super().send_request(timeout=timeout, stream=True, **request)
                    call.answered(response.status_code)
                if stream and response.status_code < 300:
                    return response
                body = await read_bounded(response, MAX_ANSWER_BYTES)
        except TimeoutError:
            raise impit.ReadTimeout(f"no whole answer within {timeout} s") from None
        content_type = response.headers.get("content-type", "")
        return impit.Response(response.status_code, content=body, headers={"content-type": content_type})
