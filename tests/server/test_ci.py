"""`.ci/run` checks a copy of the sources with an empty HOME and without the settings of the user."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers.processes import ROOT
from tests.helpers.programs import REQUIRED, needs_namespace

# Replaces make: prints its folder and the files in it. Replaces dpkg: every package is installed.
MAKE = f"""#!/bin/sh
cd "$2"
echo "home $HOME"; echo "folder $PWD"; echo "required ${REQUIRED}"; echo "python $PYTHON"
echo "kept $(ls -A "$HOME"; ls -d .env .venv .data .git 2>/dev/null)"
"$PYTHON" -m pip config list
id embedded_postgres 2>&1
cat
echo "$@" | grep -q ' check$' && test -x .ci/run || exit 1
echo "1 passed"
exit 7
"""


@pytest.fixture
def ci_run(tmp_path):
    """Run the script with a separate HOME, pip settings and stand-ins."""
    stand_ins = tmp_path / "bin"
    stand_ins.mkdir()
    settings = tmp_path / "home" / ".config" / "pip" / "pip.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text("[global]\nindex-url = https://pip.example.com/simple\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "XDG_", "PYTHON"))}
    environment = {**kept, "HOME": str(tmp_path / "home"), "PATH": f"{stand_ins}:{os.environ['PATH']}"}

    def run(**programs: str) -> subprocess.CompletedProcess[str]:
        for name, text in {"make": MAKE, "dpkg": "#!/bin/sh\n", **programs}.items():
            write(stand_ins / name, text)
        return subprocess.run([ROOT / ".ci" / "run"], env=environment, capture_output=True, text=True, timeout=120)

    return run


def write(program: Path, text: str) -> None:
    program.write_text(text)
    program.chmod(0o755)


def test_ci_checks_a_fresh_copy_with_a_fresh_home(ci_run, tmp_path):
    ran = ci_run()
    output = dict(line.partition(" ")[::2] for line in ran.stdout.splitlines())
    assert ran.returncode == 7, ran.stderr
    assert ran.stdout.endswith("\n1 passed\n")
    assert " " in output["folder"] and not Path(output["folder"]).is_relative_to(ROOT)
    assert output["home"] != str(tmp_path / "home")
    assert output["kept"] == ""
    assert output["required"] == ("1" if os.geteuid() == 0 else "")
    assert "https://pip.example.com/simple" in ran.stdout
    assert not Path(output["home"]).parent.exists()


@needs_namespace()
def test_ci_runs_where_the_packaged_postgresql_has_never_run(ci_run):
    assert "no such user" in ci_run().stdout


def test_ci_reports_that_it_may_not_have_a_namespace(ci_run):
    ran = ci_run(unshare="#!/bin/sh\nexit 1\n")
    assert ran.returncode == 7, ran.stderr
    if os.geteuid() == 0:
        assert ran.stdout.splitlines()[0] == "unshare -m is refused here: only HOME and the folder are fresh."
