"""`make demo-vendors` does what it says, and leaves nothing behind."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


async def test_the_demonstration_goes_as_it_should(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "examples.demo_vendors"], cwd=ROOT, env=environment,
        capture_output=True, text=True, timeout=58,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout.endswith("Everything went as it should.\n")
    assert list(tmp_path.iterdir()) == []
