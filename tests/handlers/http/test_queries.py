"""How the parameters of a query are read, whatever the route."""

from urllib.parse import quote

import pytest

from tests.helpers.clients import Api
from tests.helpers.discovery import add
from tests.helpers.factories import People


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("search=%ff", "Query is not valid UTF-8"),
        ("%ff=1", "Query is not valid UTF-8"),
        ("&".join(f"x{number}=1" for number in range(101)), "Query must not have more than 100 fields"),
    ],
)
async def test_a_query_that_cannot_be_read_is_refused(api: Api, people: People, query: str, message: str):
    answer = await api.get(f"/discovery/influencers?{query}", await people.salon())
    assert (answer.status, answer.body["details"]) == (400, [{"field": "query", "message": message}])


async def test_blank_parameters_are_ignored(api: Api, people: People):
    """They do not count towards the most fields either."""
    salon, found = await people.salon(), await add(people, "さくら")
    await add(people, "Tarou")
    blanks = "&".join("region=" for _ in range(200))
    answer = await api.get(f"/discovery/influencers?{blanks}&search={quote('さくら')}&sort", salon)
    assert [entry["user"]["id"] for entry in answer.data] == [found.id]
