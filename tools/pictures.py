"""Draw docs/pictures (`make pictures`): the pages as README and docs show them, with the people of the seed."""

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Browser, Page

from db.packaged.servers import free_port
from db.seed.people import PASSWORD, influencer_email, salon_email
from tests.helpers.browser import PersonPane, open_browser, open_page
from tools.browser import find_browser

ROOT = Path(__file__).parents[1]
PICTURES = Path("docs/pictures")
TALK = (
    (0, "Thank you for the photos! Would Friday at three suit you?"),
    (1, "金曜日の15時、大丈夫です。"),
    (0, "Perfect. I will send the address."),
)


def start_server(data_dir: str, port: int) -> subprocess.Popen[str]:
    """Start server.py on empty databases and fill them."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    environment = {**kept, "DATA_DIR": data_dir, "PORT": str(port), "JOBS_ENABLED": "false", "LOG_LEVEL": "WARNING"}
    server = subprocess.Popen(
        [sys.executable, "server.py"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout
    for line in server.stdout:
        if "listens on" in line:
            subprocess.run(
                [sys.executable, "-m", "db.seed"], cwd=ROOT, env=environment, check=True, capture_output=True
            )
            return server
    raise RuntimeError("The server did not start. Run `make run` to see why.")


async def draw(base: str, folder: Path) -> None:
    async with open_browser() as browser:
        for scheme in ("light", "dark"):
            await draw_console(browser, base, folder, scheme)
        async with open_page(browser, color_scheme="light", reduced_motion="reduce") as page:
            await page.goto(f"{base}/docs/realtime#client.join_conversation")
            await page.locator("#close-codes").wait_for()
            await page.locator("[id='client.join_conversation']").evaluate("each => each.scrollIntoView()")
            await shoot(page, folder / "reference.png")
        async with open_page(browser, color_scheme="light") as page:
            await page.goto(f"{base}/docs")
            await page.locator("#ui .opblock-tag").first.wait_for()
            await page.locator(".demo button").first.click()
            await page.get_by_text("Signed in as").wait_for()
            await page.locator('.opblock-tag[data-tag="profile"]').click()
            await shoot(page, folder / "rest.png")


async def draw_console(browser: Browser, base: str, folder: Path, scheme: str) -> None:
    size = {"width": 1280, "height": 1180}
    async with open_page(browser, color_scheme=scheme, viewport=size, reduced_motion="reduce") as page:
        await page.goto(f"{base}/docs/realtime")
        panes = PersonPane(page, 0), PersonPane(page, 1)
        for pane, email in zip(panes, (influencer_email(0), salon_email(0)), strict=True):
            await pane.sign_in(email, PASSWORD)
        for pane in panes:
            await pane.enter()
        for place, text in TALK if scheme == "light" else ():
            await panes[place].send(text)
            await panes[1 - place].bubble(text)
        await panes[1].press("Mark read")
        await panes[0].root.locator(".seen").wait_for()
        await panes[1].type("See you on Friday")
        await panes[0].sees("is typing…")
        await page.mouse.move(0, 0)  # no row is highlighted
        await page.locator("#panes").evaluate("panes => panes.scrollIntoView()")
        await shoot(page, folder / f"console-{scheme}.png")
        if scheme == "light":
            return
        await page.set_viewport_size({"width": 390, "height": 844})
        await panes[0].root.evaluate("pane => pane.scrollIntoView()")
        await panes[0].root.locator(".messages").evaluate("each => { each.scrollTop = each.scrollHeight; }")
        await shoot(page, folder / "phone.png")


async def shoot(page: Page, file: Path) -> None:
    await page.screenshot(path=file, animations="disabled")
    print(f"  {file}")


def main(folder: Path = PICTURES) -> int:
    try:
        find_browser()
    except RuntimeError as error:
        print(f"The pictures cannot be drawn: {error}.", file=sys.stderr)
        return 1
    folder.mkdir(exist_ok=True)
    port = free_port()
    with tempfile.TemporaryDirectory() as data_dir:
        server = start_server(data_dir, port)
        try:
            asyncio.run(draw(f"http://127.0.0.1:{port}", folder))
        finally:
            server.terminate()
            server.wait(timeout=60)
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
