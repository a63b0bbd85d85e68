"""The programs of the READMEs run as printed, and chat with each other."""

import asyncio

from clients.conformance.readme_programs import CLIENTS, ReadmeProgram, chat, example, install
from tests.helpers.factories import PASSWORD
from tests.helpers.programs import long_test, needs_npm

NO_CONTACTS = "You have no contacts yet. Connect with a person first."


async def check_chat(api, people, programs):
    hanako, sakura = await people.influencer(), await people.salon()
    await people.connect(hanako, sakura)
    for program, person in zip(programs, (hanako, sakura), strict=True):
        await program.start(api.base, person.email, PASSWORD)
    for program in programs:
        program.type("")
        program.type("x" * 5_001)
    assert await chat(programs, lines=5) == []
    assert [await program.stop() for program in programs] == [0, 0]
    for program in programs:
        assert b"The message has more than 5000 characters." in await program.draining


async def test_the_programs_of_both_readmes_chat(api, people, tmp_path):
    programs = ReadmeProgram("python", tmp_path / "one"), ReadmeProgram("typescript", tmp_path / "two")
    await check_chat(api, people, programs)


async def test_the_programs_of_a_person_without_contacts_end_with_a_sentence(api, people, tmp_path):
    hanako = await people.influencer()
    programs = ReadmeProgram("python", tmp_path / "one"), ReadmeProgram("typescript", tmp_path / "two")
    for program in programs:
        command = (*program.command, api.base, hanako.email, PASSWORD)
        process = await asyncio.create_subprocess_exec(
            *command, env=program.environment, stderr=asyncio.subprocess.PIPE
        )
        _, shown = await process.communicate()
        assert (process.returncode, shown.decode().strip()) == (1, NO_CONTACTS)


@long_test()
@needs_npm()
async def test_the_programs_chat_where_pip_and_npm_have_installed_the_clients(api, people, tmp_path):
    programs = await asyncio.to_thread(install, tmp_path)
    assert [*tmp_path.glob("one/venv/lib/*/site-packages/encer/py.typed")]
    assert (tmp_path / "two" / "node_modules" / "encer" / "dist" / "types" / "index.d.ts").exists()
    await check_chat(api, people, programs)


def test_a_working_chat_takes_twenty_lines():
    for language in ("python", "typescript"):
        assert len([line for line in example(language).splitlines() if line.strip()]) <= 20


def test_both_readmes_show_the_same_events_and_guarantees():
    def sections(language: str) -> str:
        text = (CLIENTS / language / "README.md").read_text()
        events = text.split("## Events")[1].split("\nListeners")[0].split("## What is guaranteed")[0].strip()
        return events + text.split("## What is guaranteed")[1].replace("retry_after", "retryAfter")

    assert sections("python") == sections("typescript")
