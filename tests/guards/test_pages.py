"""Pages link to one another: every link leads to a page and a heading, README and docs/index.md lead to every page."""

import re
from pathlib import Path

import pytest

from tests.guards.product import ROOT

LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
PAGES = [
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", "deploy/*.md", "clients/*.md", "clients/*/*.md")
    for path in sorted(ROOT.glob(pattern))
]
SUBJECTS = [page for page in PAGES if page.parts[0] in ("docs", "deploy") and "decisions" not in page.parts]


def links(page: Path) -> list[tuple[Path, str]]:
    """Return the file, relative to the repository, and the heading of each link to a file."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    found = []
    for target, anchor in LINK.findall(text):
        path = (ROOT / page).parent / target if target else ROOT / page
        found.append((Path(path.resolve()).relative_to(ROOT.resolve()), anchor))
    return found


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_to_a_file_and_a_heading(page: Path):
    found = links(page)
    assert {str(target) for target, _ in found if not (ROOT / target).exists()} == set()
    assert {(str(target), anchor) for target, anchor in found if anchor and anchor not in anchors(target)} == set()


@pytest.mark.parametrize("start", ["README.md", "docs/index.md"])
def test_every_page_is_one_link_away(start: str):
    found = {target for target, _ in links(Path(start))}
    assert len(SUBJECTS) > 9
    assert {str(page) for page in SUBJECTS} - {str(page) for page in found} - {start} == set()
