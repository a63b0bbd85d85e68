"""All measurements for docs/scale.md, one after the other: `make bench-scale`."""

import subprocess
import sys

BENCHES = ("messages", "sockets", "slow", "pubsub", "presence", "database", "sign_ups")


def main() -> int:
    for name in BENCHES:
        print(f"\n== .venv/bin/python -m bench.scale.{name}", flush=True)
        if code := subprocess.call([sys.executable, "-m", f"bench.scale.{name}"]):
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
