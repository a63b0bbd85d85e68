"""Start-up says everything that is wrong at once, and never a value; development needs nothing said."""

import re
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from settings import Limit, Settings, SettingsError, load_settings, parse_duration, parse_limit

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path):
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def test_development_needs_nothing(tmp_path):
    settings = load_settings()
    assert settings.public_url == "http://127.0.0.1:3000"
    kept = tmp_path / ".data" / "secrets.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert load_settings().jwt_access_secret == settings.jwt_access_secret


def test_secrets_are_made_once_by_whoever_comes_first():
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: load_settings().encryption_key.get_secret_value(), range(16)))
    assert len(set(made)) == 1


def test_every_fault_at_once_and_no_value(monkeypatch):
    monkeypatch.setenv("APP_ENV", "production")
    monkeypatch.setenv("PORT", "many")
    monkeypatch.setenv("JWT_ACCESS_SECRET", "tooshortsecret")
    monkeypatch.setenv("LIMIT_AUTH", "off")
    monkeypatch.setenv("JOBS_TIMEZONE", "Mars/Olympus")
    monkeypatch.setenv("PASSWORD_COST", "4")
    with pytest.raises(SettingsError) as failure:
        load_settings()
    lines = str(failure.value).splitlines()
    named = {line.partition(":")[0] for line in lines}
    assert named >= {
        "PORT", "JWT_ACCESS_SECRET", "JWT_REFRESH_SECRET", "ENCRYPTION_KEY", "JOBS_TIMEZONE", "DATABASE_URL",
        "REDIS_URL", "PUBLIC_URL", "FRONTEND_URL", "LIMIT_AUTH", "PASSWORD_COST",
    }  # fmt: skip
    assert "tooshortsecret" not in str(failure.value)


def test_a_packaged_redis_is_no_cluster(monkeypatch):
    monkeypatch.setenv("REDIS_SHARDED", "true")
    with pytest.raises(SettingsError, match="REDIS_SHARDED: needs REDIS_URL"):
        load_settings()
    monkeypatch.setenv("REDIS_URL", "redis://localhost:7000")
    assert load_settings().redis_sharded


def test_secrets_do_not_print(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:verysecret@host/db")
    assert "verysecret" not in repr(load_settings())


@pytest.mark.parametrize(
    ("text", "value"),
    [("60/1m+30", Limit(60, 60, 30)), ("5/15m", Limit(5, 900)), ("50/d", Limit(50, 86400)), ("off", None)],
)
def test_limits(text, value):
    assert parse_limit(text) == value


@pytest.mark.parametrize("text", ["", "0/1m", "5", "5/", "5/0m", "-5/1m", "5/1m+0", "5/1w", "x/1m", "5/1m+30+1"])
def test_bad_limits(text):
    with pytest.raises(ValueError, match="must"):
        parse_limit(text)


def test_durations():
    assert parse_duration("15m") == timedelta(minutes=15)
    assert parse_duration("100s") == parse_duration("100") == timedelta(seconds=100)
    for bad in ("", "0", "-1s", "1y", "m", "400d"):
        with pytest.raises(ValueError, match="must"):
            parse_duration(bad)


def test_the_example_names_every_setting():
    """All but where vendors live, which only tests change."""
    named = set(re.findall(r"^# ([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    elsewhere = {"APIFY_API_URL", "TIKTOK_AUTH_URL", "TIKTOK_API_URL", "RESEND_API_URL", "CLOUDINARY_UPLOAD_PREFIX"}
    assert named == {name.upper() for name in Settings.model_fields} - elsewhere
