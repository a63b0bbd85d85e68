"""A Debian machine in namespaces: this machine's programs under a systemd of its own, without a network."""

import os
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.helpers.scratch import scratch_folder

BOOT = Path(__file__).parents[1] / "deploy" / "boot"
BOOT_SECONDS = 120.0
COMMAND_SECONDS = 300.0
NAMESPACES = ["unshare", "-m", "-p", "-f", "-n", "-u", "-i", "-C", "--kill-child"]
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "TERM": "dumb",
    "LANG": "C.UTF-8",
    "SYSTEMD_COLORS": "0",
    "SYSTEMD_PAGER": "cat",
}


def children(process: subprocess.Popen[bytes]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


class Machine:
    """`share` is a folder that the machine sees as /mnt/share."""

    def __init__(self, process: subprocess.Popen[bytes], share: Path) -> None:
        [self.init] = children(process)
        self.share = share

    def command(self, *command: str) -> list[str]:
        """Return the command that runs this command on the machine, as root."""
        return ["nsenter", "--target", str(self.init), "--all", "--root", "--wd", *command]

    def run(self, script: str) -> str:
        """Run lines of bash, and return what they print; a line that fails fails the test."""
        ended = subprocess.run(
            self.command("bash", "-euc", script),
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def type_at_terminal(self, script: str, answers: dict[str, str]) -> tuple[int, str]:
        """Run lines of bash at a terminal, and type each answer when its prompt appears. Return status and output."""
        (self.share / "session").write_text(script)
        typed = subprocess.Popen(
            self.command("script", "-qefc", "bash -eu /mnt/share/session", "/dev/null"),
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert typed.stdin and typed.stdout
        printed = ""
        timer = threading.Timer(COMMAND_SECONDS, typed.kill)
        timer.start()
        while chunk := os.read(typed.stdout.fileno(), 65536):
            printed += chunk.decode(errors="replace").replace("\r", "")
            for prompt in [prompt for prompt in answers if printed.endswith(prompt)]:
                typed.stdin.write(f"{answers[prompt]}\n".encode())
                typed.stdin.flush()
        timer.cancel()
        typed.stdin.close()
        return typed.wait(), printed


@contextmanager
def own_control_group() -> Iterator[Path]:
    """Make a control group for the machine, and remove it with what systemd has made in it."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    group = Path(next(mount[1] for mount in mounts if mount[2] == "cgroup2")) / f"encer-test-{os.getpid()}"
    group.mkdir()
    try:
        yield group
    finally:
        for folder, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):
                os.rmdir(folder)


@contextmanager
def running_machine() -> Iterator[Machine]:
    with (
        scratch_folder() as folder,
        own_control_group() as group,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready,
    ):
        share = folder / "share"
        share.mkdir()
        ready.bind(str(share / "notify"))
        ready.settimeout(BOOT_SECONDS)
        process = subprocess.Popen(
            [*NAMESPACES, str(BOOT), str(folder), sys.base_prefix, sysconfig.get_path("purelib")],
            stdout=subprocess.DEVNULL,
            stderr=(folder / "log").open("wb"),
            preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())),
            start_new_session=True,
        )
        try:
            while b"READY=1" not in ready.recv(4096).splitlines():
                assert process.poll() is None, (folder / "log").read_text()
            ready.close()  # systemd would wait for a reader of its next messages
            yield Machine(process, share)
        finally:
            # unshare ends when process 1 has ended, and process 1 ends last.
            for child in children(process):
                os.kill(child, signal.SIGKILL)
            process.wait()
