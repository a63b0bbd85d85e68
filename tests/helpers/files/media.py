"""Files for the stores of media."""

from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n pixels"
PDF = b"%PDF-1.7 %%EOF"
PUBLIC_URL = "https://api.example.com"


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
