"""`make demo-vendors` does what it says, and leaves nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.programs import long_test

ROOT = Path(__file__).parents[2]
SECONDS = 300.0  # for a busy machine; it takes about 20


@long_test()
def test_the_demonstration_succeeds(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    program = [sys.executable, "-m", "examples.demo_vendors"]
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout.endswith("All steps succeeded.\n")
    assert list(tmp_path.iterdir()) == []
