"""Clients that are generated from /openapi.json compile, and work from sign-up to notifications."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from handlers.http.openapi import openapi
from handlers.routes import make_table
from tests.helpers.programs import long_test, needs_npm
from tools.node.packages import MODULES, NODE, run_node

HERE = Path(__file__).parent
GENERATE_SECONDS = 240  # about ten on an idle machine
JOURNEY_SECONDS = 120


@pytest.fixture(scope="module")
def description(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("description") / "openapi.json"
    file.write_text(json.dumps(openapi(make_table(), "https://api.encer.dev")))
    return file


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command, which must succeed, and return its output."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=GENERATE_SECONDS)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-3000:]
    return output


async def journey(instance, mailbox, folder: Path, *command: str | Path) -> None:
    """Run a journey, and send it the code of a mail whenever it asks."""
    Image.new("RGB", (64, 64), "pink").save(folder / "picture.png")
    process = await asyncio.create_subprocess_exec(
        *command,
        f"http://127.0.0.1:{instance.port}",
        "picture.png",
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin and process.stdout and process.stderr
    output = b""
    try:
        async with asyncio.timeout(JOURNEY_SECONDS):
            while line := await process.stdout.readline():
                output = line.strip()
                if output == b"code":
                    process.stdin.write(f"{await mailbox.code()}\n".encode())
            errors = await process.stderr.read()
            assert (await process.wait(), output) == (0, b"done"), errors.decode()[-3000:]
    finally:
        if process.returncode is None:
            process.kill()


@long_test()
@needs_npm()
async def test_a_typescript_client(instance, mailbox, description, tmp_path):
    (tmp_path / "node_modules").symlink_to(MODULES)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for name in ("journey.ts", "generate.mjs", "tsconfig.json"):
        shutil.copy(HERE / name, tmp_path)
    for command in (("generate.mjs", description, "api.ts"), (MODULES / "typescript" / "bin" / "tsc",)):
        done = run_node(*command, cwd=tmp_path, seconds=GENERATE_SECONDS)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    # `unknown` is the type of two documents and of headers that a client did not ask for, and of no field.
    lines = [line.strip() for line in (tmp_path / "api.ts").read_text().splitlines() if "unknown" in line]
    assert [line for line in lines if line != "[name: string]: unknown;"] == ["[key: string]: unknown;"] * 2
    await journey(instance, mailbox, tmp_path, NODE, "journey.ts")


@long_test()
async def test_a_python_client(instance, mailbox, description, tmp_path):
    generator = Path(sys.executable).with_name("openapi-python-client")
    options = ("--path", description, "--config", HERE / "python.yaml", "--meta", "none")
    said = run(generator, "generate", *options, "--output-path", tmp_path / "encer_client", cwd=tmp_path)
    assert "arning" not in said, said  # of a part that the generator leaves out
    models = {path.stem for path in (tmp_path / "encer_client" / "models").iterdir()}
    assert {"message", "category", "tik_tok_metadata", "general_error"} <= models
    assert [name for name in models if re.search(r"_type_\d|_item$", name)] == []  # made from a place, not from a name
    (tmp_path / "encer_client" / "py.typed").touch()
    shutil.copy(HERE / "journey.py", tmp_path)
    strict = ("-m", "mypy", "--strict", "--config-file=")
    run(sys.executable, *strict, "journey.py", "encer_client", cwd=tmp_path)
    await journey(instance, mailbox, tmp_path, sys.executable, "journey.py")
