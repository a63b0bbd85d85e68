"""Lint /openapi.json with Redocly's rules (redocly.yaml): `.venv/bin/python -m tools.lint_openapi`."""

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from handlers.http.openapi import openapi
from handlers.routes import make_table
from tools.node.packages import install_packages, run_node

ROOT = Path(__file__).parents[1]
PUBLIC_URL = "https://api.encer.dev"  # a rule forbids example addresses and addresses of this machine


def lint(description: Path) -> int:
    """Print violations of the rules; return the linter's exit status."""
    command = install_packages() / "@redocly" / "cli" / "bin" / "cli.js"
    done = run_node(command, "lint", description, "--config", ROOT / "redocly.yaml", "--format=stylish")
    print(done.stdout + done.stderr if done.returncode else "The OpenAPI description follows all rules.")
    return done.returncode


def main() -> int:
    with TemporaryDirectory() as folder:
        description = Path(folder) / "openapi.json"
        description.write_text(json.dumps(openapi(make_table(), PUBLIC_URL), indent=1))
        try:
            return lint(description)
        except RuntimeError as error:  # no npm packages: .ci/run requires them
            if os.environ.get("REQUIRE_REAL_PARTS"):
                raise
            print(f"The OpenAPI description is not linted: {str(error).splitlines()[0]}", file=sys.stderr)
            return 0


if __name__ == "__main__":
    sys.exit(main())
