"""Temporary folders that packaged servers can run in."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A folder name with characters that have a meaning in a shell, in make, in a URL, in a pattern or in a settings file.
ODD = """a b (c)&#%'"é [d]"""


@contextmanager
def scratch_folder(prefix: str = "encer-") -> Iterator[Path]:
    """Make a folder, and remove it at the end.

    All users may enter it, unlike other temporary folders: for root, PostgreSQL runs as another system user.
    """
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        yield folder
