"""Apify's SDK with our transport and our errors. It takes 10 MB; runs.py loads it for the first call."""

from apify_client import ApifyClientAsync

from services.apify import errors as vendor
from services.apify.transport import BoundedHttpClient


class Sdk:
    errors = vendor.SDK_ERRORS
    describe = staticmethod(vendor.describe)
    translate = staticmethod(vendor.translate)
    is_surely_not_started = staticmethod(vendor.is_surely_not_started)
    is_transient = staticmethod(vendor.is_transient)

    def __init__(self, token: str, api_url: str) -> None:
        # max_retries=0: the SDK would repeat a start that timed out, and so pay for a second run.
        transport = BoundedHttpClient(token=token, max_retries=0)
        self.client = ApifyClientAsync.with_custom_http_client(
            token, api_url=api_url, api_public_url=api_url, http_client=transport
        )
