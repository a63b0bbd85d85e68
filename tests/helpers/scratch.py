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

    Unlike other temporary folders, all users may enter it: PostgreSQL's system user must, where the caller is root.
    """
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        yield folder
