"""Users, connections and conversations, inserted directly, so that a test uses only the routes that it tests."""

from dataclasses import dataclass
from typing import Any

from db.queries.conversations import open_conversation
from server import Instance

PASSWORD = "correct horse 9"

ADD_USER = """
    insert into users (name, email, password_hash, role, email_verified_at, terms_accepted_at, onboarded_at)
    values ($1, $2, $3, $4, now(), now(), now()) returning id
"""

ADD_INFLUENCER = """
    insert into influencers (user_id, bio, categories, region, age, gender)
    values ($1, 'I show what I wear', '{beauty,fashion}', 'tokyo', 27, 'FEMALE')
"""

ADD_SALON = """
    insert into salons (user_id, business_name, description, preferred_categories, region)
    values ($1, $2, 'Hair and nails', '{beauty}', 'tokyo')
"""

ADD_SESSION = "insert into sessions (user_id, expires_at) values ($1, now() + interval '1 day') returning id"

CONNECT = """
    insert into connection_requests (sender_id, receiver_id, status) values ($1, $2, 'ACCEPTED') returning id
"""


@dataclass
class Person:
    id: str
    name: str
    email: str
    role: str
    token: str
    session_id: str


class People:
    """`salon = await people.salon()`; each is verified, onboarded and signed in."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.count = 0
        self.password_hash: str | None = None

    async def influencer(self, name: str | None = None, **fields: Any) -> Person:
        person = await self.add("INFLUENCER", name or "Hanako", **fields)
        await self.instance.db.execute(ADD_INFLUENCER, person.id)
        return person

    async def salon(self, name: str | None = None, **fields: Any) -> Person:
        person = await self.add("SALON", name or "Salon Sakura", **fields)
        await self.instance.db.execute(ADD_SALON, person.id, f"{person.name} K.K.")
        return person

    async def admin(self, name: str | None = None) -> Person:
        return await self.add("ADMIN", name or "Admin")

    async def add(self, role: str, name: str, email: str | None = None) -> Person:
        self.count += 1
        email = email or f"person{self.count}@example.com"
        self.password_hash = self.password_hash or await self.instance.services.passwords.hash(PASSWORD)
        user_id = await self.instance.db.fetchval(ADD_USER, name, email, self.password_hash, role)
        return await self.sign_in(Person(user_id, name, email, role, "", user_id))

    async def sign_in(self, person: Person) -> Person:
        """Return the same user with another session and token."""
        session_id = await self.instance.db.fetchval(ADD_SESSION, person.id)
        token = self.instance.services.tokens.access(person.id, person.role, session_id)
        return Person(person.id, person.name, person.email, person.role, token, session_id)

    async def connect(self, one: Person, other: Person) -> str:
        """Connect two users and return the id of their conversation."""
        async with self.instance.db.transaction() as tx:
            await tx.execute(CONNECT, one.id, other.id)
            return str(await open_conversation(tx, one.id, other.id))
