"""`make pictures` draws every picture of the pages that README and docs show."""

import re
import subprocess
import sys
from pathlib import Path

from tests.helpers.processes import ROOT
from tests.helpers.programs import long_test, needs_browser

DRAW_SECONDS = 300  # about twenty on an idle machine


@long_test()
@needs_browser()
def test_every_picture_of_the_pages_is_drawn_and_shown(tmp_path: Path):
    command = (sys.executable, "-m", "tools.pictures", tmp_path)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DRAW_SECONDS)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    drawn = {path.name for path in tmp_path.iterdir() if path.stat().st_size > 20_000}
    assert drawn == {path.name for path in (ROOT / "docs" / "pictures").glob("*.png")}
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert drawn == {name for page in pages for name in re.findall(r"pictures/([\w-]+\.png)", page.read_text())}
