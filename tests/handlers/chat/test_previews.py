"""Previews are cut between visible characters, in lists, events and notifications."""

import pytest

from db.schemas.previews import PREVIEW_CHARS, preview

CLUSTERS = {
    "family": "👩‍👩‍👧‍👦",
    "flag": "🇯🇵",
    "skin tone": "👍🏽",
    "keycap": "5️⃣",
    "flag of Scotland": "🏴󠁧󠁢󠁳󠁣󠁴󠁿",
    "heart": "❤️‍🔥",
    "combining dakuten": "か\u3099",
    "decomposed é": "e\u0301",
    "jamo": "\u1112\u1161\u11ab",
    "Devanagari": "नि",
}

clusters = pytest.mark.parametrize("cluster", CLUSTERS.values(), ids=CLUSTERS)


@clusters
def test_no_cluster_is_cut(cluster: str):
    for room in range(len(cluster) + 2):
        start = "x" * (PREVIEW_CHARS - room)
        fits = room // len(cluster)
        assert preview(start + cluster * 9) == start + cluster * fits
    assert preview(cluster) == cluster


def test_short_texts_stay_and_endless_clusters_are_cut():
    assert preview("x" * PREVIEW_CHARS) == "x" * PREVIEW_CHARS
    assert preview("") == ""
    assert preview("e" + "\u0301" * 4_000) == "e" + "\u0301" * (PREVIEW_CHARS - 1)


@clusters
async def test_every_preview_of_a_message(api, people, cluster: str):
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    socket = await api.socket(sakura)

    async def shown() -> set[str]:
        [conversation] = (await api.get("/chat/conversations", sakura)).data
        [contact] = (await api.get("/chat/contacts", sakura)).data
        opened = (await api.get(f"/chat/conversations/{hanako.id}", sakura)).data
        [notification] = (await api.get("/notifications", sakura)).data
        return {
            conversation["lastMessage"],
            contact["conversation"]["lastMessage"],
            opened["lastMessage"],
            notification["message"],
        }

    start = "x" * (PREVIEW_CHARS - 1)
    path = f"/chat/conversations/{conversation_id}/messages"
    message = (await api.post(path, {"content": start + cluster * 3}, hanako)).data
    assert await shown() == {start}
    assert (await socket.expect("notification_received"))["notification"]["message"] == start
    start = "y" + start[1:]
    assert (await api.patch(f"/chat/messages/{message['id']}", {"content": start + cluster}, hanako)).status == 200
    assert await shown() == {start}
