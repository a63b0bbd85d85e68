"""Resources of an instance, created once at start and passed to handlers, sockets and jobs."""

import asyncio
from dataclasses import dataclass

from db.pool import Database
from db.queries.sessions import Sessions
from db.queries.social.scrape_runs import ScrapeRuns
from db.queries.social.tiktok_tokens import TikTokTokens
from services.apify.runs import ApifyActors
from services.files.image_proxy import ImageProxy
from services.files.media import MediaStore
from services.files.stores import media_from_settings
from services.redis_scripts import Scripts
from services.security.addresses import NetworkHashes
from services.security.encryption import Encryption
from services.security.otps import Otps
from services.security.passwords import Passwords
from services.security.rate_limit import RateLimits
from services.security.tokens import Tokens
from services.social.instagram import InstagramProfiles
from services.social.scrapes import Scrapes
from services.tiktok.account_tokens import TikTokAccounts
from services.tiktok.oauth import TikTokOAuth
from services.tiktok.oauth_states import OAuthStates
from services.tiktok.profiles import TikTokProfiles
from settings import Settings


@dataclass
class Services:
    """Wrappers of vendors and libraries."""

    tokens: Tokens
    passwords: Passwords
    otps: Otps
    rate_limits: RateLimits
    networks: NetworkHashes
    encryption: Encryption
    image_proxy: ImageProxy
    scrapes: Scrapes
    tiktok: TikTokAccounts
    oauth_states: OAuthStates
    media: MediaStore

    @classmethod
    def make(cls, settings: Settings, scripts: Scripts, db: Database) -> "Services":
        encryption = Encryption.from_settings(settings)
        return cls(
            tokens=Tokens(settings),
            passwords=Passwords(settings.password_cost),
            otps=Otps(settings),
            networks=NetworkHashes(settings),
            rate_limits=RateLimits(scripts),
            image_proxy=ImageProxy(settings.image_proxy_hosts),
            encryption=encryption,
            scrapes=make_scrapes(settings, db),
            tiktok=TikTokAccounts(TikTokOAuth.from_settings(settings), encryption, TikTokTokens(db)),
            oauth_states=OAuthStates(settings),
            media=media_from_settings(settings),
        )

    async def close(self) -> None:
        self.passwords.close()
        self.image_proxy.close()
        self.media.close()
        await asyncio.gather(self.scrapes.close(), self.tiktok.close())


@dataclass(frozen=True)
class Resources:
    """Settings, connections and services of an instance."""

    settings: Settings
    redis_url: str
    db: Database
    sessions: Sessions
    services: Services


def make_scrapes(settings: Settings, db: Database) -> Scrapes:
    actors = ApifyActors.from_settings(settings)
    instagram = InstagramProfiles.from_settings(settings, actors)
    tiktok = TikTokProfiles.from_settings(settings, actors)
    return Scrapes(
        actors, {"INSTAGRAM": instagram, "TIKTOK": tiktok}, ScrapeRuns(db), settings.scrape_timeout.total_seconds()
    )
