"""The parts of the realtime service, put together once per instance.

An event flows in one direction: publisher → gate → hub → feed → client, and publisher → relay → Redis → the receivers
of the other instances → gate. docs/architecture.md draws it.
"""

import secrets

from realtime.catch_up import CatchUp
from realtime.conversation_feeds import CatchUpQueue
from realtime.gate import DeliveryGate
from realtime.hub import Hub
from realtime.presence.index import PresenceIndex
from realtime.presence.presence import Presence
from realtime.publisher import Publisher
from realtime.redis.receiver import Receiver
from realtime.redis.relay import Relay
from realtime.session_watch import SessionWatch
from realtime.sockets.registry import SocketRegistry
from realtime.typists import Typists
from services.resources import Resources


class Realtime:
    """All parts of the realtime service of one instance. `start` and `stop` run its background tasks."""

    def __init__(self, resources: Resources) -> None:
        settings, db, sessions = resources.settings, resources.db, resources.sessions
        self.settings = settings
        self.db = db
        self.sessions = sessions
        self.tokens = resources.services.tokens
        self.rate_limits = resources.services.rate_limits
        self.instance_id = secrets.token_hex(6)
        self.relay = Relay(resources.redis_url, self.instance_id, settings.redis_sharded)
        catch_ups = CatchUpQueue()
        self.hub = Hub(self.relay, catch_ups)
        self.gate = DeliveryGate(sessions, self.hub)
        self.receiver = Receiver(self.instance_id, self.gate, self.hub)
        self.publisher = Publisher(self.gate, self.relay)
        self.catch_up = CatchUp(db, sessions, self.hub, self.gate, catch_ups)
        self.typists = Typists(self.hub, self.publisher)
        self.sockets = SocketRegistry()
        index = PresenceIndex(self.relay.scripts, self.instance_id, settings.redis_sharded)
        self.presence = Presence(index, db, self.publisher, self.sockets, settings.sockets_per_user)
        self.session_watch = SessionWatch(sessions, self.sockets, self.gate)

    def start(self) -> None:
        self.session_watch.start()
        self.relay.start(self.receiver)
        self.catch_up.start()
        self.presence.start()

    async def stop(self) -> None:
        await self.presence.stop()
        await self.catch_up.stop()
        await self.relay.stop()
        await self.session_watch.stop()
