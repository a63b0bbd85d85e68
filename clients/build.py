"""Build the TypeScript client: types from the API descriptions, one minified file, declarations, a size guard.

`.venv/bin/python clients/build.py` writes them, and the copy that the server's pages load. `--compare` fails if what is
committed differs from what is built.
"""

import argparse
import gzip
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from handlers.http.openapi import openapi  # noqa: E402
from handlers.routes import make_table  # noqa: E402
from realtime.asyncapi import asyncapi  # noqa: E402
from settings import load_settings  # noqa: E402
from tools.node.packages import FOLDER, MODULES, install_packages, run_node  # noqa: E402

CLIENT = ROOT / "clients" / "typescript"
SERVED = ROOT / "handlers" / "static" / "encer.js"  # the same file, which the page /docs/realtime imports
PRIVATE = "--mangle-props=^_."  # short names for private members; unlike `#name` these work behind a proxy, as in Vue
MAX_BYTES = 12 * 1024  # of the minified file, compressed with gzip; a web page can load this for a chat
# The schemas that the client uses, from openapi.json or asyncapi.json.
SCHEMAS = (
    "Message",
    "MessageDeleted",
    "MessageRead",
    "Notification",
    "NotificationReceived",
    "NotificationRead",
    "Attachment",
    "SignedInUser",
    "UserOnline",
    "Ready",
)
TEXTS = ("description", "examples", "example", "title")  # a changed description does not change a type


class BuildError(Exception):
    """A program of the build failed; the text has its output."""


def describe() -> dict[str, Any]:
    """Return the schemas that the client uses, and those that they refer to, as an OpenAPI document."""
    settings = load_settings(public_url="http://localhost")
    described = {
        **openapi(make_table(), "http://localhost")["components"]["schemas"],
        **asyncapi(settings)["components"]["schemas"],
    }
    used: dict[str, Any] = {}
    waiting = [*SCHEMAS]
    while waiting:
        name = waiting.pop()
        if name not in used:
            used[name] = without_texts(described[name])
            waiting += [part.partition('"')[0] for part in json.dumps(used[name]).split("#/components/schemas/")[1:]]
    return {
        "openapi": "3.1.0",
        "info": {"title": "encer", "version": "1"},
        "paths": {},
        "components": {"schemas": dict(sorted(used.items()))},
    }


def without_texts(node: Any) -> Any:
    if isinstance(node, dict):
        properties = node.get("properties")
        kept = {name: without_texts(value) for name, value in node.items() if name not in (*TEXTS, "properties")}
        if isinstance(properties, dict):  # a property may have the name of a text field
            kept["properties"] = {name: without_texts(value) for name, value in properties.items()}
        return kept
    return [without_texts(item) for item in node] if isinstance(node, list) else node


def run(*arguments: str | Path, **more: Any) -> str:
    done = run_node(*arguments, **more)
    if done.returncode:
        raise BuildError(f"{Path(arguments[0]).name} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def build(client: Path) -> None:
    """Write `src/generated.ts` and `dist/` of a folder with the client's sources."""
    install_packages()
    types = run(FOLDER / "openapi_types.mjs", input=json.dumps(describe()))
    (client / "src" / "generated.ts").write_text(types)
    dist = client / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    run(MODULES / "typescript" / "bin" / "tsc", "-p", client)
    bundle(client / "src" / "index.ts", dist / "encer.js")


def bundle(entry: Path, output: Path) -> None:
    esbuild = MODULES / "esbuild" / "bin" / "esbuild"
    options = ("--bundle", "--minify", "--format=esm", "--target=es2022", "--charset=utf8", "--log-level=warning")
    run(esbuild, entry, *options, PRIVATE, f"--outfile={output}")


def compressed(file: Path) -> int:
    return len(gzip.compress(file.read_bytes(), 9))


def files_of(client: Path) -> dict[str, bytes]:
    built = [client / "src" / "generated.ts", *(client / "dist").rglob("*")]
    return {str(path.relative_to(client)): path.read_bytes() for path in built if path.is_file()}


def compare() -> list[str]:
    """Build in a copy; return the files that differ from the committed ones."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "typescript"
        shutil.copytree(CLIENT, copy)
        build(copy)
        built, committed = files_of(copy), files_of(CLIENT)
    name = str(SERVED.relative_to(ROOT))
    built[name], committed[name] = built["dist/encer.js"], SERVED.read_bytes() if SERVED.exists() else b""
    return sorted(name for name in built.keys() | committed.keys() if built.get(name) != committed.get(name))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compare", action="store_true", help="change nothing, and fail if something would change")
    options = parser.parse_args()
    try:
        if options.compare:
            if changed := compare():
                print(f"Not as built: {', '.join(changed)}. Run `make clients` and commit the result.")
                return 1
        else:
            build(CLIENT)
            shutil.copy(CLIENT / "dist" / "encer.js", SERVED)
    except BuildError as error:
        print(error)
        return 1
    size = compressed(CLIENT / "dist" / "encer.js")
    print(f"clients/typescript/dist/encer.js: {size:,} bytes minified and gzipped, of at most {MAX_BYTES:,}")
    return 0 if size <= MAX_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
