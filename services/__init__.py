"""Everything that wraps somebody else's code, made once at start and handed to handlers and jobs."""

from dataclasses import dataclass
from typing import Any

from services.encryption import Encryption
from services.image_proxy import ImageProxy
from services.otps import Otps
from services.passwords import Passwords
from services.rate_limit import RateLimits
from services.tokens import Tokens
from settings import Settings


@dataclass
class Services:
    tokens: Tokens
    passwords: Passwords
    otps: Otps
    rate_limits: RateLimits
    encryption: Encryption
    image_proxy: ImageProxy

    @classmethod
    def make(cls, settings: Settings, redis: Any) -> "Services":
        return cls(
            tokens=Tokens(settings),
            passwords=Passwords(settings.password_cost),
            otps=Otps(settings),
            rate_limits=RateLimits(redis),
            encryption=Encryption.from_settings(settings),
            image_proxy=ImageProxy(settings.image_proxy_hosts),
        )

    def close(self) -> None:
        self.passwords.close()
        self.image_proxy.close()
