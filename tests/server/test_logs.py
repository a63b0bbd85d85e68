"""With LOG_FORMAT=json every line on stdout and stderr is one JSON object, from start to exit; their levels."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.guards.product import FILES, parse
from tests.helpers.clients import Api
from tests.helpers.processes import ROOT, ServerProcess

SECONDS = 60.0
# Code that writes to stderr without the server's log; the last line ends the program.
OTHERS = """
from services.logs import start_logs
start_logs()
import asyncio, logging, sys, threading, warnings

class UnguardedHandler:
    def __del__(self):
        raise ValueError("in a destructor")

async def forget():
    async def fail():
        raise ValueError("in a task")
    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)

def fail():
    raise ValueError("in a thread")

logging.getLogger("tornado.general").warning("two\\nlines")
logging.getLogger("apify_client").error("with a %s", "parameter")
warnings.warn("a warning", UserWarning)
UnguardedHandler()
thread = threading.Thread(target=fail)
thread.start()
thread.join()
asyncio.run(forget())
import gc; gc.collect()
raise ValueError("in the end")
"""


def lines_for_operators() -> set[str]:
    """Return the texts that the product logs at WARNING and above, or at the level of an error."""
    found: set[str] = set()
    for file in [Path("server.py"), *FILES]:
        for call in [node for node in ast.walk(parse(file)) if isinstance(node, ast.Call)]:
            match call:
                case ast.Call(
                    ast.Attribute(ast.Name("log" | "logger"), "warning" | "error" | "exception" | "critical"),
                    [ast.Constant(text), *_],
                ):
                    found.add(str(text))
                case ast.Call(ast.Attribute(ast.Name("log" | "logger"), "log"), [_, ast.Constant(text), *_]):
                    found.add(str(text))
                case ast.Call(ast.Name("Outage"), [ast.Constant(text), *_]):
                    found.add(str(text))
    return found


def test_the_runbook_has_each_line_that_needs_an_action():
    section = (ROOT / "docs" / "operations.md").read_text().partition("### Log lines that need an action")[2]
    listed = set(
        re.findall(r"`([^`]+)`", " ".join(re.findall(r"^\| (.+?) \|", section.partition("###")[0], re.MULTILINE)))
    )
    logged = lines_for_operators()
    assert len(logged) > 20
    begins = {text: next((line for line in listed if text.startswith(line)), None) for text in logged}
    assert [text for text, line in begins.items() if line is None] == []
    assert listed - set(begins.values()) == {"Invalid settings", "logger"}  # print_failure, and libraries


def lines_of(*outputs: str) -> list[dict[str, Any]]:
    return [json.loads(line) for output in outputs for line in output.splitlines()]


def environment(folder: Path, **variables: str) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(ROOT), "LOG_FORMAT": "json", **variables}


def run(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment(folder, **variables),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def test_output_of_libraries_and_python_is_json(tmp_path):
    ended = run(tmp_path, "-c", OTHERS, PYTHONWARNINGS="always")
    lines = lines_of(ended.stdout, ended.stderr)
    received = json.dumps(lines)
    for what in (
        "two\\nlines",
        "with a parameter",
        "a warning",
        "in a destructor",
        "in a thread",
        "in a task",
        "in the end",
    ):
        assert what in received, what
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)
    assert (lines[-1]["level"], "in the end" in lines[-1]["exception"]) == ("critical", True)


def test_the_journal_receives_the_priority_of_each_line(tmp_path):
    """systemd gives the stream's device and inode; a pipe has them too."""
    read, write = os.pipe()
    found = os.fstat(write)
    command = [sys.executable, "-c", OTHERS]
    for stream, prefixes in {f"{found.st_dev}:{found.st_ino}": {"<4>", "<3>", "<2>"}, "1:1": {'{"e', '{"l'}}.items():
        variables = environment(tmp_path, JOURNAL_STREAM=stream)
        assert subprocess.run(command, cwd=tmp_path, env=variables, stderr=write, timeout=SECONDS).returncode == 1
        lines = os.read(read, 65536).decode().splitlines()
        assert {line[:3] for line in lines} <= prefixes and len(lines) > 5
        if stream != "1:1":
            assert {(line[:3], json.loads(line[3:])["level"]) for line in lines} == {
                ("<4>", "warning"), ("<3>", "error"), ("<2>", "critical")
            }  # fmt: skip
    os.close(read)
    os.close(write)


def test_the_console_shows_a_plain_traceback(tmp_path):
    ended = run(tmp_path, "-c", "secret = 'hush'\n" + OTHERS, LOG_FORMAT="console")
    assert "ValueError: in the end" in ended.stderr
    assert "hush" not in ended.stderr.replace("secret = 'hush'", "")


@pytest.mark.parametrize("where", ["environment", ".env"])
def test_refused_settings_are_json(tmp_path, where):
    (tmp_path / ".env").write_text("LOG_FORMAT=json\nthis line is none\nPORT=many\n")
    variables = {"FRONTEND_URL": "*"} | ({"LOG_FORMAT": ""} if where == ".env" else {})
    ended = run(tmp_path, str(ROOT / "server.py"), **variables)
    assert ended.returncode == 2
    *before, refusal = lines_of(ended.stdout, ended.stderr)
    assert refusal["event"] == "Invalid settings"
    assert {fault.partition(":")[0] for fault in refusal["faults"]} == {".env", "PORT", "FRONTEND_URL"}
    assert any("could not parse" in line["event"] for line in before)


async def test_a_server_writes_json_from_start_to_exit(servers, api: Api, data_dir, io_loop):
    server = ServerProcess(
        servers,
        data_dir,
        LOG_FORMAT="json",
        LOG_LEVEL="DEBUG",
        PASSWORD_COST="4",
        PYTHONWARNINGS="default",
        EMAIL_SENDER="console",
    )
    output = b""
    assert server.process.stdout
    try:
        output += await read_until(io_loop, server, b"listens on")
        body = {"name": "花子", "email": "hanako@example.com", "password": "tea and biscuits", "termsAccepted": True}
        answer = await server.api(api).call("POST", "/auth/signup/influencer", body)
        assert answer.status == 201, answer
        output += await read_until(io_loop, server, b'"event": "mail"')
        server.process.send_signal(signal.SIGTERM)
        output += await io_loop.run_in_executor(None, server.process.stdout.read)
        assert server.process.wait(SECONDS) == 0
    finally:
        server.kill()
        server.process.stdout.close()
    lines = lines_of(output.decode())
    events = [line["event"] for line in lines]
    mail = next(line for line in lines if line["event"] == "mail")
    assert (mail["to"], "\n" in mail["text"]) == ("hanako@example.com", True)
    assert any(event.startswith("Beautiful Encer listens on http://127.0.0.1:") for event in events)
    assert events[-1] == "stopped"


async def read_until(io_loop, server: ServerProcess, marker: bytes) -> bytes:
    """Return what the server writes, up to the line with the marker."""
    output = b""
    assert server.process.stdout
    while marker not in output:
        line = await io_loop.run_in_executor(None, server.process.stdout.readline)
        assert line, output.decode()
        output += line
    return output
