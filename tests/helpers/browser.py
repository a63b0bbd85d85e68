"""A real browser and the steps of users on the pages, for tests and for `make pictures`."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, Locator, Page, async_playwright

from tools.browser import find_browser
from tools.node.packages import install_packages

# Chromium's sandbox refuses root, and a browser in a test needs no other server.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
STEP_MS = 60_000  # a busy machine takes many seconds to draw a page


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    path, more = find_browser()
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=path, env={**os.environ, **more}, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def open_page(browser: Browser, **options: Any) -> AsyncIterator[Page]:
    """Open a page in a separate context, without cookies and storage of other pages."""
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    context.set_default_timeout(STEP_MS)
    try:
        yield await context.new_page()
    finally:
        await context.close()


class PersonPane:
    """One of the two panes of the console."""

    def __init__(self, page: Page, place: int) -> None:
        self.page = page
        self.root = page.locator(".pane.card").nth(place)

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    async def press(self, name: str) -> None:
        await self.button(name).click()

    async def sign_in(self, email: str, password: str) -> None:
        await self.root.get_by_label("E-mail").fill(email)
        await self.root.get_by_label("Password").fill(password)
        await self.root.get_by_label("Password").press("Enter")
        await self.button("Connect").wait_for()

    async def enter(self) -> None:
        """Connect and join the conversation with the person of the other pane."""
        await self.press("Connect")
        await self.state("live")
        await self.press("Join")
        await self.button("Leave").click(trial=True)  # waits until it is enabled, which is after the ack

    async def state(self, name: str) -> None:
        await self.root.locator(f".state[data-state={name}]").wait_for()

    async def type(self, text: str) -> None:
        await self.root.get_by_label("Message", exact=True).press_sequentially(text)

    async def send(self, text: str) -> None:
        await self.root.get_by_label("Message", exact=True).fill(text)
        await self.press("Send")

    async def sees(self, text: str) -> None:
        await self.root.get_by_text(text).first.wait_for()

    async def bubble(self, text: str) -> None:
        await self.root.locator(".bubble:not(.waiting)", has_text=text).wait_for()

    async def bubbles(self) -> list[str]:
        return await self.root.locator(".bubble .content").all_inner_texts()

    def frames(self) -> Locator:
        return self.root.locator(".frames li:not([hidden]) .name")


async def serious_findings(page: Page) -> list[str]:
    """Return the accessibility faults that axe-core rates as “serious” or “critical”."""
    source = (install_packages() / "axe-core" / "axe.min.js").read_text()
    options = json.dumps({"resultTypes": ["violations"]})
    run = f"(await axe.run(document, {options})).violations"
    found = await page.evaluate(f"(async () => {{ {source}; return {run}; }})()")
    return [
        json.dumps({"rule": each["id"], "where": [node["html"][:200] for node in each["nodes"][:3]]})
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
