"""Creation of admins by db.create_admin, and by the settings at the first start."""

import asyncio
import contextlib
import io
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import SecretStr

from db.create_admin import main
from db.packaged.servers import ServerUrls
from db.pool import Database
from db.queries.admins import add_first_admin
from jobs.first_admin import check_first_admin, make_first_admin
from server import Instance
from settings import Settings, SettingsError
from tests.helpers.clients import Api
from tests.helpers.factories import People

ROOT = Path(__file__).parents[2]
PASSWORD = "a really long one"
EMAIL = "boss@example.com"
SECONDS = 30
COUNT_ADMINS = "select count(*) from users where role = 'ADMIN'"
PROGRAM = [sys.executable, "-m", "db.create_admin"]


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def environment(servers: ServerUrls, data_dir: Path) -> dict[str, str]:
    """Return an environment with the tests' database and without settings of the machine."""
    return {
        "PATH": os.environ["PATH"],
        "APP_ENV": "test",
        "PORT": "0",
        "DATABASE_URL": servers.database_url,
        "DATA_DIR": str(data_dir),
        "PASSWORD_COST": "4",
    }


@pytest.fixture
def run(environment: dict[str, str]):
    """Return a function that runs the program without a terminal."""

    async def run(*options: str, **more: str) -> Done:
        done = await asyncio.to_thread(
            subprocess.run,
            [*PROGRAM, *options],
            cwd=ROOT,
            env={**environment, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def call(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return a function that runs the program in this process, which is faster."""

    async def call(*options: str, **more: str) -> Done:
        for name, value in {**environment, **more}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.stdin", io.StringIO())
        code = await asyncio.to_thread(main, list(options))
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture
def answer_prompts(environment: dict[str, str]):
    """Return a function that runs the program at a terminal, waits for each prompt and types the answer."""

    def run_in_terminal(options: tuple[str, ...], answers: list[tuple[str, str]]) -> Done:
        ours, theirs = pty.openpty()
        program = subprocess.Popen(
            [*PROGRAM, *options],
            cwd=ROOT,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        shown = ""
        for prompt, answer in answers:
            seen = ""
            while not seen.endswith(prompt):
                seen += os.read(ours, 1000).decode()
            shown += seen
            os.write(ours, f"{answer}\n".encode())
        with contextlib.suppress(OSError):  # the other end is closed
            while more := os.read(ours, 1000):
                shown += more.decode()
        os.close(ours)
        return Done(program.wait(SECONDS), shown, "")

    async def answer_prompts(*options: str, answers: list[tuple[str, str]]) -> Done:
        return await asyncio.wait_for(asyncio.to_thread(run_in_terminal, options, answers), SECONDS)

    return answer_prompts


async def can_sign_in(api: Api, email: str, password: str) -> bool:
    answer = await api.post("/auth/login", {"email": email, "password": password})
    return answer.status == 200 and answer.data["user"]["role"] == "ADMIN"


# -- the program -----------------------------------------------------------------------------------------------------


async def test_options_make_an_admin_who_can_sign_in(api: Api, db: Database, run):
    done = await run("--email", "BOSS@Example.com", "--name", "花子", "--password", PASSWORD)
    assert done.code == 0, done.err
    assert done.out == "boss@example.com is an admin now and can sign in\n"
    assert PASSWORD not in done.out + done.err
    assert await can_sign_in(api, EMAIL, PASSWORD)
    assert await db.fetchval("select name from users") == "花子"


async def test_the_environment_is_enough(api: Api, db: Database, call):
    done = await call(ADMIN_EMAIL=EMAIL, ADMIN_PASSWORD=PASSWORD)
    assert done.code == 0, done.err
    assert await can_sign_in(api, EMAIL, PASSWORD)


async def test_the_program_asks_for_missing_values(api: Api, db: Database, answer_prompts):
    answers = [("E-mail: ", EMAIL), ("Password: ", PASSWORD), ("Password again: ", PASSWORD)]
    done = await answer_prompts(answers=answers)
    assert done.code == 0, done
    assert PASSWORD not in done.out  # a terminal does not show the typed password
    assert await can_sign_in(api, EMAIL, PASSWORD)


async def test_the_program_asks_again_until_the_password_is_accepted(api: Api, db: Database, answer_prompts):
    answers = [
        ("Password: ", "short"),
        ("Password: ", PASSWORD),
        ("Password again: ", "mistyped"),
        ("Password: ", PASSWORD),
        ("Password again: ", PASSWORD),
    ]
    done = await answer_prompts("--email", EMAIL, answers=answers)
    assert done.code == 0, done
    assert "8 to 72 bytes" in done.out and "not the same" in done.out
    assert await can_sign_in(api, EMAIL, PASSWORD)


async def test_the_program_stops_asking_after_three_bad_passwords(db: Database, answer_prompts):
    done = await answer_prompts("--email", EMAIL, answers=[("Password: ", "short")] * 3)
    assert done.code == 1, done
    assert await db.fetchval(COUNT_ADMINS) == 0


async def test_the_end_of_input_cancels_the_program(db: Database, answer_prompts):
    done = await answer_prompts(answers=[("E-mail: ", "\x04")])  # end of input
    assert done.code == 130 and "Traceback" not in done.out
    assert await db.fetchval(COUNT_ADMINS) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--email", EMAIL, "--password", "short"], "8 to 72 bytes"),
        (["--email", EMAIL, "--password", ""], "8 to 72 bytes"),
        (["--email", EMAIL, "--password", "x" * 73], "8 to 72 bytes"),
        (["--email", EMAIL, "--password", "password123"], "most common"),
        (["--email", EMAIL, "--password", EMAIL.upper()], "your e-mail address"),
        (["--email", "nobody", "--password", PASSWORD], "not a valid e-mail address"),
        (["--email", "", "--password", PASSWORD], "not a valid e-mail address"),
        (["--email", EMAIL, "--password", PASSWORD, "--name", "a\nb"], "line breaks"),
        (["--email", EMAIL], "--password"),
        (["--password", PASSWORD], "--email"),
    ],
)
async def test_refusals(db: Database, call, options: list[str], message: str):
    done = await call(*options)
    assert done.code == 1 and message in done.err
    assert await db.fetchval(COUNT_ADMINS) == 0


async def test_an_existing_account_does_not_become_an_admin(db: Database, people: People, call):
    salon = await people.salon()
    done = await call("--email", salon.email.upper(), "--password", PASSWORD)
    assert (done.code, "registered already" in done.err) == (1, True)
    assert await db.fetchval(COUNT_ADMINS) == 0


async def test_bad_settings_and_a_missing_database_print_no_traceback(db: Database, call):
    options = ("--email", EMAIL, "--password", PASSWORD)
    done = await call(*options, PORT="x")
    assert done.code == 2 and "PORT" in done.err
    done = await call(*options, DATABASE_URL="postgresql://encer:secret@127.0.0.1:1/encer")
    assert done.code == 1 and "does not answer" in done.err
    assert "Traceback" not in done.err and "secret" not in done.err


# -- at first start --------------------------------------------------------------------------------------------------


@pytest.fixture
def with_admin(settings: Settings) -> Settings:
    return settings.model_copy(update={"admin_email": "Boss@Example.com", "admin_password": SecretStr(PASSWORD)})


async def test_instances_that_start_together_create_one_admin(
    with_admin: Settings, servers: ServerUrls, api: Api, db: Database
):
    instances = [Instance(with_admin, servers) for _ in range(3)]
    try:
        await asyncio.gather(*(instance.start() for instance in instances))
        assert await db.fetchval(COUNT_ADMINS) == 1
        assert await can_sign_in(api, EMAIL, PASSWORD)
    finally:
        for instance in instances:
            await instance.stop()


async def test_concurrent_calls_add_one_admin(db: Database):
    outcomes = await asyncio.gather(*(add_first_admin(db, "A", f"a{n}@example.com", "hash") for n in range(8)))
    assert sorted(outcomes) == ["ADDED"] + ["NOT_NEEDED"] * 7


async def test_an_existing_admin_prevents_another_one(
    with_admin: Settings, instance: Instance, api: Api, db: Database, people: People
):
    await people.admin()
    await make_first_admin(db, instance.services.passwords, with_admin)
    assert await db.fetchval(COUNT_ADMINS) == 1
    assert not await can_sign_in(api, EMAIL, PASSWORD)


async def test_an_account_with_the_address_is_not_changed(
    with_admin: Settings, instance: Instance, db: Database, people: People
):
    salon = await people.add("SALON", "Squatter", EMAIL)
    before = await db.fetchrow("select * from users where id = $1", salon.id)
    await make_first_admin(db, instance.services.passwords, with_admin)
    assert await db.fetchrow("select * from users where id = $1", salon.id) == before
    assert await db.fetchval(COUNT_ADMINS) == 0


async def test_without_settings_no_admin_is_added(settings: Settings, instance: Instance, db: Database):
    await make_first_admin(db, instance.services.passwords, settings)
    assert await db.fetchval("select count(*) from users") == 0


@pytest.mark.parametrize(
    ("email", "password", "faulty"),
    [
        (EMAIL, None, {"ADMIN_PASSWORD"}),
        (None, PASSWORD, {"ADMIN_EMAIL"}),
        ("nobody", PASSWORD, {"ADMIN_EMAIL"}),
        (EMAIL, "short", {"ADMIN_PASSWORD"}),
        (EMAIL, "password123", {"ADMIN_PASSWORD"}),
        ("nobody", "short", {"ADMIN_EMAIL", "ADMIN_PASSWORD"}),
        (EMAIL, EMAIL, {"ADMIN_PASSWORD"}),
    ],
)
def test_invalid_settings_prevent_the_start(
    settings: Settings, email: str | None, password: str | None, faulty: set[str]
):
    given = {"admin_email": email, "admin_password": password and SecretStr(password)}
    with pytest.raises(SettingsError) as error:
        check_first_admin(settings.model_copy(update=given))
    lines = str(error.value).splitlines()
    assert {line.partition(":")[0] for line in lines} == faulty
    assert not password or password not in str(error.value)


async def test_the_server_prints_the_invalid_setting_and_ends(environment: dict[str, str]):
    more = {"ADMIN_EMAIL": EMAIL, "ADMIN_PASSWORD": "password123"}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "server.py"],
        cwd=ROOT,
        env={**environment, **more},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 2
    assert "ADMIN_PASSWORD" in done.stderr and "password123" not in done.stderr
