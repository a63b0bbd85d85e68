"""Where the outbox keeps unsent messages, so that a later run of the program sends them."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Protocol, cast, get_type_hints

from .emitter import log
from .types import Unsent


class OutboxStore(Protocol):
    """The persistence hook. Programs and users may share a store, because each changes only its own messages."""

    def load(self) -> list[Unsent]:
        """Return all messages, oldest first."""
        ...

    def add(self, unsent: Unsent) -> None: ...

    def remove(self, unsent: Unsent) -> None:
        """Delete a message; another program may have deleted it before."""
        ...


class FileOutbox:
    """Unsent messages in a folder that only its owner may read, a file each."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def load(self) -> list[Unsent]:
        found = [unsent for path in self.folder.glob("*.json") if (unsent := self._read(path))]
        return sorted(found, key=lambda unsent: unsent["queuedAt"])

    def add(self, unsent: Unsent) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(unsent)
        beside = path.with_suffix(".new")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(unsent, file)
        beside.replace(path)

    def remove(self, unsent: Unsent) -> None:
        self._path(unsent).unlink(missing_ok=True)

    def _path(self, unsent: Unsent) -> Path:
        key = json.dumps([unsent["userId"], unsent["conversationId"], unsent["clientMessageId"]])
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.json"

    def _read(self, path: Path) -> Unsent | None:
        """Return a message; None if another program has sent it, or if the file is unreadable."""
        try:
            unsent: Any = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError):
            unsent = None
        has_fields = isinstance(unsent, dict) and unsent.keys() >= get_type_hints(Unsent).keys()
        if has_fields and isinstance(unsent["queuedAt"], int):
            return cast(Unsent, unsent)
        log.error("%s is not an unsent message, so it is not sent.", path)
        return None
