"""The pages in a real browser: two people chat in the console, every request can be tried, pages are accessible."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Locator, Page

from db.packaged.servers import free_port
from db.queries import conversations
from realtime.sockets.client import HEARTBEAT_SECONDS
from realtime.sockets.commands import Ping
from server import Instance
from tests.conftest import stop
from tests.helpers.browser import PersonPane, open_browser, open_page, serious_findings
from tests.helpers.clients import Api
from tests.helpers.factories import PASSWORD, People, Person
from tests.helpers.processes import ROOT
from tests.helpers.programs import long_test, needs_browser, needs_program
from tests.helpers.servers.nginx import nginx_with_prefix

pytestmark = needs_browser()


@pytest.fixture(scope="module")
def site(io_loop, settings, servers) -> Iterator[Instance]:
    """Start a server whose PUBLIC_URL is its address for the browser."""
    port = free_port()
    update = {"port": port, "public_url": f"http://127.0.0.1:{port}"}
    config = settings.model_copy(update=update)
    for name in ("own_origins", "public_path"):
        config.__dict__.pop(name, None)  # the settings may hold a cached copy
    instance = Instance(config, servers)
    io_loop.run_sync(instance.start)
    yield instance
    stop(io_loop, instance)


@pytest.fixture(scope="module")
def browser(io_loop) -> Iterator[Browser]:
    opened = open_browser()
    yield io_loop.run_sync(opened.__aenter__)
    io_loop.run_sync(lambda: opened.__aexit__(None, None, None))


@pytest.fixture
def visit(site, browser):
    """Open a page, which must log no error and load nothing from other hosts."""
    return lambda port=site.port, **options: visit_page(browser, port, **options)


@asynccontextmanager
async def visit_page(browser: Browser, port: int, **options) -> AsyncIterator[Page]:
    complaints: list[str] = []
    async with open_page(browser, **options) as page:
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda message: complaints.append(message.text) if "Security Policy" in message.text else None
        )
        page.on("request", lambda asked: complaints.append(asked.url) if is_foreign(asked.url, port) else None)
        yield page
    assert complaints == []


def is_foreign(url: str, port: int) -> bool:
    return urlsplit(url).scheme in ("http", "https", "ws", "wss") and urlsplit(url).port != port


@pytest.fixture
def people(site, instance) -> People:
    """People who are created through the site; `instance` empties the tables afterwards."""
    return People(site)


def address(site: Instance, path: str) -> str:
    return f"{site.settings.public_url}{path}"


async def two_people(page: Page, site: Instance, people: People) -> tuple[PersonPane, PersonPane]:
    """Sign two connected people in, each in a pane."""
    hanako, salon = await people.influencer("Hanako"), await people.salon("Mai")
    await people.connect(hanako, salon)
    await page.goto(address(site, "/docs/realtime"))
    panes = PersonPane(page, 0), PersonPane(page, 1)
    for pane, person in zip(panes, (hanako, salon), strict=True):
        await pane.sign_in(person.email, PASSWORD)
    return panes


async def test_two_people_talk_and_one_resumes_after_a_cut(site, people, visit):
    async with visit() as page:
        one, two = await two_people(page, site, people)
        for pane in (one, two):
            await pane.enter()
        await exchange_messages(one, two)
        await one.root.get_by_label("Filter").fill("mess -read")
        assert await one.frames().all_inner_texts() == ["send_message", "message_sent", "ack"]
        await one.root.get_by_label("Direction").select_option("sent")
        assert await one.frames().all_inner_texts() == ["send_message"]
        await one.root.locator(".frames li:not([hidden]) summary").click()
        await one.sees('"clientMessageId"')
        await cut_and_resume(site, one, two)
        await two.press("Log out elsewhere")
        await two.sees("Your session has ended. Please sign in again.")
        await two.sees("close 4403")
        await one.state("live")
        assert await serious_findings(page) == []


async def exchange_messages(one: PersonPane, two: PersonPane) -> None:
    await one.type("Is Friday possible?")
    await two.sees("Hanako is typing…")
    await one.press("Send")
    await two.bubble("Is Friday possible?")
    await two.press("Mark read")
    await one.sees("Read by Mai")
    await one.press("Leave")
    await one.press("Join")
    await one.sees("Read by Mai")


MEANWHILE = ("Or Saturday?", "Or Sunday?", "Monday?")
WAITING = ("Sunday is best.", "In the morning.")


async def cut_and_resume(site: Instance, one: PersonPane, two: PersonPane) -> None:
    """Check that messages of both users arrive once and in one order after a cut."""
    await two.press("Cut the line")
    await two.state("cut")
    for text in MEANWHILE:
        await one.send(text)
        await one.bubble(text)
    for text in WAITING:
        await two.send(text)
    assert await two.bubbles() == ["Is Friday possible?", *WAITING]
    assert await one.bubbles() == ["Is Friday possible?", *MEANWHILE]
    await two.press("Resume")
    for pane in (one, two):
        await pane.bubble(WAITING[-1])
        assert await pane.bubbles() == ["Is Friday possible?", *MEANWHILE, *WAITING]
    stored = await site.db.fetch("select content from messages order by seq")
    assert [row["content"] for row in stored] == ["Is Friday possible?", *MEANWHILE, *WAITING]
    for pane in (one, two):  # each message was one event in each browser
        await pane.root.get_by_label("Direction").select_option("received")
        await pane.root.get_by_label("Filter").fill("message_sent")
        assert await pane.frames().count() == len(stored)
        await pane.root.get_by_label("Filter").fill("")


LATER = "() => { const now = performance.now.bind(performance); performance.now = () => now() + 3_600_000; }"


STAYS_DURING_THE_NEXT_ATTEMPT = """pane => new Promise((resolve) => {
    const [note, state] = [pane.querySelector(".note"), pane.querySelector(".state")];
    let tried = false;
    new MutationObserver(() => {
        tried ||= state.dataset.state === "connecting";
        if (!note.textContent) resolve(false);
        if (tried && state.dataset.state === "offline") resolve(true);
    }).observe(pane, { subtree: true, childList: true, attributes: true });
})"""


@long_test()
async def test_errors_are_sentences_that_say_what_to_do(site, people, visit, monkeypatch):
    async with visit() as page:
        one, two = await two_people(page, site, people)
        await one.press("Connect")
        await one.state("live")
        await site.db.execute("update sessions set ended_at = now(), end_reason = 'LOGGED_OUT'")
        await one.sees("Your session has ended. Please sign in again.")
        await page.evaluate(LATER)  # the access token of the other pane has expired
        await two.press("Connect")
        await two.sees("Please sign in again.")
        for pane in (one, two):
            await pane.root.get_by_label("Password").wait_for()

        monkeypatch.setitem(site.settings.__dict__, "own_origins", frozenset())
        monkeypatch.setattr(site.settings, "public_url", "https://api.example.com")
        await page.goto(f"http://127.0.0.1:{site.port}/docs/realtime")
        hanako = await people.influencer("Hanako")
        await one.sign_in(hanako.email, PASSWORD)
        await one.press("Connect")
        await one.sees("Open https://api.example.com/docs/realtime instead, or add the origin to FRONTEND_URL.")
        assert await one.root.evaluate(STAYS_DURING_THE_NEXT_ATTEMPT)


@long_test()
async def test_every_request_can_be_tried_after_one_sign_in(site, people, visit):
    hanako = await people.influencer("Hanako")
    async with visit() as page:
        await page.goto(address(site, "/"))
        assert page.url == address(site, "/docs")
        await page.get_by_label("E-mail").fill(hanako.email)
        await page.get_by_label("Password").fill("wrong password")
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await page.get_by_role("alert").get_by_text("password").wait_for()
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_label("Password").press("Enter")
        await page.get_by_text("Signed in as Hanako").wait_for()
        for tag in ("auth", "profile", "notifications"):
            await page.locator(f'.opblock-tag[data-tag="{tag}"]').click()
        await try_out(page, "POST", "/api/v1/auth/refresh", status=401)  # the example is not the token of this page
        await try_out(page, "GET", "/api/v1/notifications")  # no optional parameter is filled in
        await page.get_by_text("Signed in as Hanako").wait_for()
        picture = {"name": "me.png", "mimeType": "image/png", "buffer": await page.screenshot()}
        block = await try_out(page, "POST", "/api/v1/profile/upload-picture", picture)
        await block.locator(".live-responses-table").get_by_text("/media/influencer-profiles/").first.wait_for()
        assert await serious_findings(page) == []
        await site.db.execute("update sessions set ended_at = now(), end_reason = 'LOGGED_OUT'")
        await site.app.sessions.check_now()
        await block.get_by_role("button", name="Execute").click()
        await page.get_by_text("Your session has ended. Please sign in again.").wait_for()


async def try_out(page: Page, method: str, path: str, file: Any = None, status: int = 200) -> Locator:
    """Open an operation, execute it as it is offered, and wait for its response."""
    block = page.locator(f".opblock-{method.lower()}", has=page.locator(f'[data-path="{path}"]'))
    await block.locator(".opblock-summary-control").click()
    await block.get_by_role("button", name="Try it out").click()
    if file:
        await block.locator("input[type=file]").set_input_files(file)
    await block.get_by_role("button", name="Execute").click()
    await block.locator(".live-responses-table .response-col_status", has_text=str(status)).wait_for()
    return block


@long_test()
async def test_a_phone_and_a_keyboard_are_enough(site, people, visit):
    async with visit(viewport={"width": 360, "height": 740}, color_scheme="dark") as page:
        for path, ready in (("/docs", "#ui .opblock-tag"), ("/docs/realtime", "#close-codes")):
            await page.goto(address(site, path))
            await page.locator(ready).first.wait_for()
            assert await page.evaluate("document.documentElement.scrollWidth") <= 360, path
            await page.keyboard.press("Tab")
            assert await page.evaluate("document.activeElement.className") == "skip"
        assert await page.locator(".entry").count() > 25
        assert "undefined" not in await page.locator(".reference").inner_text()
        assert await serious_findings(page) == []


@pytest.fixture
def prefixed(site, tmp_path, monkeypatch) -> Iterator[str]:
    """Start nginx, which serves the site under a prefix, and yield its address."""
    port = free_port()
    monkeypatch.setitem(site.settings.__dict__, "own_origins", frozenset({f"http://127.0.0.1:{port}"}))
    monkeypatch.setattr(site.settings, "public_url", f"http://127.0.0.1:{port}/encer")
    monkeypatch.setitem(site.settings.__dict__, "public_path", "/encer")
    with nginx_with_prefix(tmp_path, port, "/encer/", site.port):
        yield site.settings.public_url


@long_test()
@needs_program("nginx", package="nginx")
async def test_the_pages_work_under_a_prefix(people, prefixed, visit):
    hanako = await people.influencer("Hanako")
    async with visit(port=urlsplit(prefixed).port) as page:
        await page.goto(f"{prefixed}/docs/realtime")
        pane = PersonPane(page, 0)
        await pane.sign_in(hanako.email, PASSWORD)
        await pane.press("Connect")
        await pane.state("live")
        await page.get_by_role("link", name="REST").click()
        await page.locator("#ui .opblock-tag").first.wait_for()
        assert page.url == f"{prefixed}/docs"


EXAMPLE = re.search(r"^```js\n(.*?)^```", (ROOT / "docs" / "realtime.md").read_text(), re.DOTALL | re.MULTILINE)
START_EXAMPLE = """async ({ session, conversationId }) => {
    const { openChat } = await import("/example.js");
    Object.assign(window, { seen: [], states: [] });
    window.chat = openChat({
        session, conversationId,
        onMessages: (messages) => { window.seen = messages.map(({ content }) => content); },
        onState: (state) => { window.states.push(state); },
    });
}"""
PING_MS = int(HEARTBEAT_SECONDS * 1000)
SILENCE_MS = 5000  # after which the example gives up a socket


class Talk(NamedTuple):
    api: Api
    conversation_id: str
    hanako: Person
    salon: Person

    async def write(self, text: str) -> str:
        """Send a message as the salon; return its id."""
        path = f"/chat/conversations/{self.conversation_id}/messages"
        sent = await self.api.post(path, {"content": text}, self.salon)
        assert sent.status == 201
        return sent.data["id"]


@asynccontextmanager
async def open_example(
    site: Instance, people: People, visit, *changes: tuple[str, str]
) -> AsyncIterator[tuple[Page, Talk]]:
    """Run the example of docs/realtime.md as Hanako on a page whose clock tests can set."""
    assert EXAMPLE and EXAMPLE[1].count("\n") <= 60
    code = EXAMPLE[1]
    for old, new in (("http://127.0.0.1:3000", site.settings.public_url), *changes):
        assert code.count(old) == 1
        code = code.replace(old, new)
    hanako, salon = await people.influencer("Hanako"), await people.salon("Mai")
    conversation_id, api = await people.connect(hanako, salon), Api(site)
    session = (await api.post("/auth/login", {"email": hanako.email, "password": PASSWORD})).data
    async with visit() as page:
        await page.route("**/example.js", lambda route: route.fulfill(body=code, content_type="text/javascript"))
        await page.goto(address(site, "/health/live"))  # a light page of an allowed origin
        await page.clock.install()
        await page.evaluate(START_EXAMPLE, {"session": session, "conversationId": conversation_id})
        await page.wait_for_function("states.at(-1) === 'connected'")
        yield page, Talk(api, conversation_id, hanako, salon)


async def test_the_example_of_the_documentation_runs_as_printed(site, people, visit):
    async with open_example(site, people, visit) as (page, talk):
        first = await talk.write("one")
        await page.wait_for_function("seen.join() === 'one'")
        await page.evaluate("chat.send('two')")
        await page.wait_for_function("seen.join() === 'one,two'")
        for number, close_code in ((3, 1001), (4, 4401)):
            await page.wait_for_function("states.at(-1) === 'connected'")
            close_sockets(site, close_code)
            await talk.write(str(number))
            await page.wait_for_function(f"seen.at(-1) === '{number}'")
        await talk.api.patch(f"/chat/messages/{first}", {"content": "first"}, talk.salon)
        await page.wait_for_function("seen.join() === 'first,two,3,4'")
        await talk.api.delete(f"/chat/messages/{first}", talk.salon)
        await page.wait_for_function("seen.join() === 'two,3,4'")
        renewed = "select max(generation) from sessions where user_id = $1"
        assert await site.db.fetchval(renewed, talk.hanako.id) >= 2
        close_sockets(site, 4403)
        await page.wait_for_function("states.at(-1) === 'The server closed with 4403'")
        assert "Not connected" in await page.evaluate("chat.send('late').catch(({ message }) => message)")


def close_sockets(site: Instance, code: int) -> None:
    for client in list(site.realtime.sockets.clients):
        client.close(code, "test")


@long_test()
async def test_the_example_notices_silence_and_that_it_is_far_behind(site, people, visit, monkeypatch):
    async with open_example(site, people, visit, ("- 400", "- 1")) as (page, talk):
        await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 1"))
        await page.clock.fast_forward(PING_MS)
        await page.evaluate("chat.send('one')")  # its ack comes after the pong
        await page.clock.fast_forward(SILENCE_MS)
        assert await page.evaluate("states") == ["connected"]
        monkeypatch.setattr(Ping, "run", answer_nothing)
        await page.clock.fast_forward(PING_MS)
        await page.clock.fast_forward(SILENCE_MS)
        assert await page.evaluate("states") == ["connected", "waiting"]
        monkeypatch.setattr(conversations, "CATCH_UP_MESSAGES", 2)
        for text in ("two", "three", "four"):
            await talk.write(text)
        await page.clock.resume()
        await page.wait_for_function("seen.join() === 'four'")
        assert await page.evaluate("states") == ["connected", "waiting", "connected"]


async def answer_nothing(ping: Ping, client: Any) -> None:
    pass
