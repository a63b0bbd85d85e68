"""The programs of both READMEs, as a person copies them, chat with each other."""

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import bcrypt

from tests.drills.environment import Environment
from tools.node.packages import NODE, npm

CLIENTS = Path(__file__).resolve().parents[1]
PASSWORD = "correct horse 9"
SET_PASSWORD = "update users set password_hash = $2 where id = $1 returning email"
LINES, PAUSE_SECONDS = 300, 0.1  # longer than the restart of three instances takes
LINE_SECONDS = 120.0  # a line may wait through the restart of an instance
INSTALL_SECONDS = 300.0  # a few packages from a registry


def example(language: str) -> str:
    """Return the first program of a README."""
    text = (CLIENTS / language / "README.md").read_text()
    programs: list[str] = re.findall(r"```(?:python|js)\n(.*?)```", text, re.DOTALL)
    return programs[0]


class ReadmeProgram:
    """A copied program in a separate folder, which imports the client from the sources."""

    def __init__(self, language: str, folder: Path) -> None:
        self.language = language
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        folder.mkdir()
        file = folder / ("chat.py" if language == "python" else "chat.mjs")
        file.write_text(example(language))
        self.command = (str(self.find_python() if language == "python" else self.find_node()), str(file))

    def find_python(self) -> Path:
        self.environment["PYTHONPATH"] = str(CLIENTS / "python")
        return Path(sys.executable)

    def find_node(self) -> Path:
        (self.folder / "node_modules").mkdir()
        (self.folder / "node_modules" / "encer").symlink_to(CLIENTS / "typescript")
        return NODE

    async def start(self, base: str, email: str, password: str) -> None:
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            *self.command,
            base,
            email,
            password,
            cwd=self.folder,
            env=self.environment,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
        )
        assert self.process.stderr
        while b"live" not in await self._line(self.process.stderr):
            pass
        self.draining = asyncio.create_task(self.process.stderr.read())

    def type(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n".encode())

    async def read_until(self, line: str) -> list[str]:
        """Return the lines up to this one."""
        assert self.process.stdout
        lines: list[str] = []
        while not lines or not lines[-1].endswith(line):
            lines.append((await self._line(self.process.stdout)).decode().rstrip("\n"))
        return lines

    async def stop(self) -> int:
        """End the input, as Ctrl-D does."""
        assert self.process.stdin
        self.process.stdin.close()
        async with asyncio.timeout(LINE_SECONDS):
            return await self.process.wait()

    async def _line(self, stream: asyncio.StreamReader) -> bytes:
        async with asyncio.timeout(LINE_SECONDS):
            line = await stream.readline()
        if not line:
            raise EOFError(f"the {self.language} program of the README ended: {await self.process.communicate()}")
        return line


class InstalledProgram(ReadmeProgram):
    """A copied program whose client pip or npm has installed from its folder, as the READMEs say."""

    def find_python(self) -> Path:
        copy = self.folder / "clients" / "python"  # a build writes beside the sources
        shutil.copytree(CLIENTS / "python", copy, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
        python = self.folder / "venv" / "bin" / "python"
        venv.create(self.folder / "venv", with_pip=True)
        pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", copy)
        done = subprocess.run(pip, env=self.environment, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        if done.returncode:
            raise RuntimeError(f"pip install failed; is the registry reachable?\n{done.stdout}{done.stderr}")
        return python

    def find_node(self) -> Path:
        npm(self.folder, "pack", str(CLIENTS / "typescript"))
        npm(self.folder, "install", str(next(self.folder.glob("encer-*.tgz"))))
        return NODE


def install(folder: Path) -> tuple[InstalledProgram, InstalledProgram]:
    return InstalledProgram("python", folder / "one"), InstalledProgram("typescript", folder / "two")


async def chat(programs: tuple[ReadmeProgram, ReadmeProgram], lines: int, pause: float = 0.0) -> list[str]:
    """Type this many lines in both programs. Return the faults: lost, repeated or differently ordered lines."""

    async def type_all(program: ReadmeProgram) -> None:
        for number in range(lines):
            program.type(f"{program.language} {number}")
            await asyncio.sleep(pause)

    await asyncio.gather(*map(type_all, programs))
    for program in programs:
        program.type(f"{program.language} ends")
    wrong, seen = [], []
    for program in programs:
        # Each program shows all lines of both, in one order; the end of each is among the last two lines.
        shown: list[str] = []
        missing = {"python ends", "typescript ends"}
        while missing:
            shown += await program.read_until(" ends")
            missing -= {end for end in missing if shown[-1].endswith(end)}
        seen.append([line.partition(": ")[2] for line in shown])
    expected = sorted(f"{s.language} {what}" for s in programs for what in [*range(lines), "ends"])
    for program, shown in zip(programs, seen, strict=True):
        if sorted(shown) != expected:
            wrong.append(f"the {program.language} program shows {shown}")
    if seen[0] != seen[1]:
        wrong.append("the two programs show different orders")
    return wrong


async def chat_through_a_rolling_restart(folder: Path) -> list[str]:
    """Start a cluster and both programs, and restart all instances while they chat. Return the faults."""
    environment = Environment(folder)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(environment.stop)
        await environment.start()
        assert environment.cluster and environment.restarting
        environment.restarting.cancel()  # roll() starts the instances that it has stopped
        programs = await asyncio.to_thread(install, folder)
        conn = await environment.connect()
        for program, member in zip(programs, await environment.add_members(1), strict=True):
            hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
            email = await conn.fetchval(SET_PASSWORD, member.user_id, hashed)
            await program.start(f"http://127.0.0.1:{environment.port}", email, PASSWORD)
        await conn.close()
        rolling = asyncio.create_task(asyncio.to_thread(environment.cluster.roll))
        wrong = await chat(programs, LINES, PAUSE_SECONDS)
        await rolling
        for program in programs:
            await program.stop()
        return wrong
