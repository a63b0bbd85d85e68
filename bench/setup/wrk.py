"""wrk as the load client of the HTTP cases, if it is installed; else bench/clients/http.py sends the same requests."""

import asyncio
import json
import shutil
from pathlib import Path

from bench.setup.processes import ROOT

WRK = shutil.which("wrk")
SCRIPT = ROOT / "bench/clients/wrk.lua"
END_SECONDS = 30.0  # beyond the time for which it sends


async def run_wrk(program: str, port: int, file: Path, seconds: int, connections: int) -> int:
    """Send the requests of the file for some seconds; return how many were answered."""
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(SCRIPT), f"http://127.0.0.1:{port}"]
    process = await asyncio.create_subprocess_exec(
        program, *options, "--", str(file), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(seconds + END_SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    lines = output.decode(errors="replace").splitlines() or [""]
    if process.returncode or not lines[-1].startswith("{"):
        raise SystemExit("wrk failed:\n" + "\n".join(lines[-10:]))
    answer = json.loads(lines[-1])
    if answer["errors"] or not answer["answered"]:
        raise SystemExit(f"{answer['errors']} of {answer['answered']} requests failed")
    return int(answer["answered"])
