"""One format on stderr for log lines of this server and of libraries, for warnings and for uncaught exceptions.

With LOG_FORMAT=json every line on stdout and stderr is one JSON object, from start to exit. If stderr is
the journal of systemd, each line begins with `<N>`, which the journal takes as the priority (sd-daemon(3)).
"""

import json
import logging
import os
import re
import sys
import threading
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import orjson
from dotenv import dotenv_values

sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
import structlog  # noqa: E402  structlog would load rich, which development tools install: 6 MB that no line uses

if sys.modules["rich"] is None:
    del sys.modules["rich"]

log = structlog.get_logger()

ADD_LEVEL = structlog.processors.add_log_level
STAMP = structlog.processors.TimeStamper(fmt="iso", utc=True)
LIBRARIES_LEVEL = logging.WARNING


REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,128}")


def read_request_id(given: str) -> str:
    """Return the id that the client or a proxy has given if it is well-formed, else a new one."""
    return given if REQUEST_ID.fullmatch(given) else os.urandom(16).hex()


current_request_id: ContextVar[str | None] = ContextVar("current_request_id", default=None)  # on each line it logs


class Format:
    """The format in force; logging is global to a process, and so is this."""

    json = False
    to_journal = False


PRIORITIES = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>", "critical": "<2>"}


def start_logs() -> None:
    """Log in the format of LOG_FORMAT before the settings are read: reading them may fail."""
    logging.disable()  # the settings read .env again and report its errors
    found: dict[str, str | None] = {}
    with suppress(OSError, UnicodeDecodeError):
        found = dotenv_values(".env")
    logging.disable(logging.NOTSET)
    known = {name.upper(): value for name, value in [*found.items(), *os.environ.items()] if value}
    configure_logs(known.get("LOG_FORMAT") or default_format(known.get("APP_ENV")), "INFO")


def default_format(app_env: str | None) -> str:
    return "json" if app_env == "production" else "console"


def configure_logs(log_format: str, log_level: str) -> None:
    """Set format and level for structlog, the standard library's logging, warnings and uncaught exceptions."""
    Format.json = log_format == "json"
    Format.to_journal = stderr_is_journal()
    structlog.configure(
        processors=[render_json] if Format.json else [add_request_id, ADD_LEVEL, STAMP, *rendering()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(log_level)),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, STAMP],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering()],
        )
    )
    logging.basicConfig(level=LIBRARIES_LEVEL, handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = log_uncaught
    threading.excepthook = lambda args: log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def stderr_is_journal() -> bool:
    """Return whether stderr is the stream that systemd names in JOURNAL_STREAM, as `device:inode` (systemd.exec(5))."""
    with suppress(OSError, ValueError):
        found = os.fstat(sys.stderr.fileno())
        return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
    return False


def rendering() -> list[Any]:
    if Format.json:
        return [structlog.processors.format_exc_info, render_line]
    # A plain traceback: one with the values of variables would show secrets.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


def render_json(logger: Any, level: str, line: MutableMapping[str, Any]) -> str:
    """Return a line as JSON. One processor, because each request logs a line, and each processor costs a call."""
    ADD_LEVEL(logger, level, add_request_id(logger, level, line))
    line["timestamp"] = datetime.now(UTC)
    if "exc_info" in line:
        structlog.processors.format_exc_info(logger, level, line)
    return render_line(logger, level, line)


def render_line(_: Any, __: str, line: MutableMapping[str, Any]) -> str:
    text = to_json(line)
    return PRIORITIES[line["level"]] + text if Format.to_journal else text


def add_request_id(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if (request_id := current_request_id.get()) is not None:
        line.setdefault("request_id", request_id)
    return line


def describe(value: Any) -> str:
    """Return a value that JSON does not have as text."""
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else repr(value)


def to_json(line: Any) -> str:
    try:
        return orjson.dumps(line, default=describe, option=orjson.OPT_UTC_Z).decode()
    except TypeError:  # a number beyond 64 bits, or text that is not valid Unicode
        return json.dumps(line, default=describe)


def log_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None = None) -> None:
    log.critical("uncaught exception", exc_info=(kind, error, trace))


def write_out(text: str) -> None:
    """Print the whole text on stdout, also on a terminal that cannot show Japanese.

    If the reader has ended (`make routes | head`), drop this and all later output and continue.
    """
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)


def text_or_json(text: str, event: str, /, **fields: Any) -> str:
    """Return the text for people, or with LOG_FORMAT=json one line with `event` and `fields`."""
    if not Format.json:
        return text
    line = {**fields, "event": event, "level": "info"}
    return str(structlog.processors.JSONRenderer()(log, "info", STAMP(log, "info", line)))


def print_failure(sentence: str, faults: Sequence[str] = ()) -> None:
    """Write the reason why the server ends on stderr."""
    if Format.json:
        log.error(sentence.rstrip(":"), **({"faults": list(faults)} if faults else {}))
    else:
        print("\n".join([sentence, *faults]), file=sys.stderr)
