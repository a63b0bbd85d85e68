"""A start reports all invalid settings together, without values; development needs no settings."""

import re
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from services.mail.choice import sender_faults
from settings import Limit, Settings, SettingsError, env_file_faults, load_settings, parse_duration, parse_limit, url_of

ROOT = Path(__file__).parents[2]


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


def test_secrets_are_generated_once_by_the_first_instance():
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


def test_a_packaged_redis_is_not_a_cluster(monkeypatch):
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
    assert parse_duration("100s") == timedelta(seconds=100)
    for bad in ("", "0", "100", 100, "-1s", "1y", "m", "400d"):
        with pytest.raises(ValueError, match="must"):
            parse_duration(bad)


def test_the_example_names_every_setting():
    """All settings except the addresses of vendors, which only tests change."""
    named = set(re.findall(r"^# ([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    elsewhere = {"APIFY_API_URL", "TIKTOK_AUTH_URL", "TIKTOK_API_URL", "RESEND_API_URL", "CLOUDINARY_UPLOAD_PREFIX"}
    assert named == {name.upper() for name in Settings.model_fields} - elsewhere


# -- addresses -------------------------------------------------------------------------------------------------------

SECRET = "verysecret"
NOT_ORIGINS = (
    "*", "app.example.com", "localhost:5173", f"https://app.example.com/{SECRET}", f"https://u:{SECRET}@a.com",
    "https://*.example.com", "ftp://app.example.com", "https://", "https://a.com:99999", f"https://a.com?{SECRET}",
    f"https://a.com#{SECRET}", "https://a .com",
)  # fmt: skip
NOT_URLS = (
    "api.example.com",
    f"https://u:{SECRET}@a.com",
    "https://*.a.com",
    f"https://a.com/?k={SECRET}",
    "mailto:a@b",
)
BAD = {
    "FRONTEND_URL": (*NOT_ORIGINS, f"https://a.com,{SECRET}", ","),
    "PUBLIC_URL": [text for text in NOT_ORIGINS if not text.endswith(f"/{SECRET}")],  # which may have a path
    "TIKTOK_REDIRECT_URI": (*NOT_URLS, f"https://a.com/#{SECRET}"),
    "APIFY_API_URL": NOT_URLS, "TIKTOK_AUTH_URL": NOT_URLS, "TIKTOK_API_URL": NOT_URLS, "RESEND_API_URL": NOT_URLS,
    "CLOUDINARY_UPLOAD_PREFIX": NOT_URLS,
    "IMAGE_PROXY_HOSTS": ("*", "*.example.com", "https://example.com", "example.com/x", "com", "a.com:443", "10.0.0.1"),
    "TRUSTED_PROXIES": (SECRET, "10.0.0.0/99", "10.0.0.1:80"),
    "HOST": ("http://127.0.0.1", "127.0.0.1:3000", "a b", "[::1]:3000", f"{SECRET}/"),
    "EMAIL_HOST": (f"smtp://u:{SECRET}@mail.example.com:587", " ", "mail.example.com:587"),
    "PORT": ("many", "-1", "70000", "3000.5"),
    "DATABASE_POOL_SIZE": ("many", "0", "1e9"), "PASSWORD_COST": ("x", "99"), "EMAIL_PORT": ("x", "0"),
    "DATABASE_URL": (
        f"mysql://u:{SECRET}@h/db", f"postgresql://u:{SECRET}#x@h/db", f"postgresql://u:{SECRET}/x@h/db",
        f"postgresql://u:{SECRET}?x@h/db", f"postgresql://u:[{SECRET}@h/db", f"postgresql://u@h/db?{SECRET}=x",
        f"postgresql://u@h:{SECRET}/db", f"host=h password={SECRET}",
    ),
    "REDIS_URL": (
        f"http://:{SECRET}@h", f"redis://:{SECRET}/x@h:6379", f"redis://:{SECRET}#x@h:6379", "redis://h/name",
        f"redis://h?{SECRET}=x", "redis://h?decode_responses=true", f"rediss://h?ssl_cert_reqs={SECRET}",
    ),
    "EMAIL_SENDER": ("Console", "sendmail"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_bad_address_or_count_is_named_without_its_value(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as failure:
        load_settings()
    (line,) = str(failure.value).splitlines()
    assert line.startswith(f"{name}: ")
    assert SECRET not in line


def test_bad_addresses_are_named_together(monkeypatch):
    for name, values in BAD.items():
        monkeypatch.setenv(name, values[0])
    with pytest.raises(SettingsError) as failure:
        load_settings()
    assert {line.partition(":")[0] for line in str(failure.value).splitlines()} == BAD.keys()


def test_origins_are_written_as_browsers_write_them(monkeypatch):
    monkeypatch.setenv(
        "FRONTEND_URL", "HTTPS://App.Example.COM:443/, http://localhost:80,http://例え.jp , http://[::1]:5173/"
    )
    monkeypatch.setenv("PUBLIC_URL", "https://API.example.com:8443/")
    settings = load_settings()
    expected = ["https://app.example.com", "http://localhost", "http://xn--r8jz45g.jp", "http://[::1]:5173"]
    assert settings.frontend_url == expected
    assert settings.origins == set(expected)
    assert settings.public_url == "https://api.example.com:8443"


def test_a_proxy_may_serve_the_server_under_a_path(monkeypatch):
    monkeypatch.setenv("PUBLIC_URL", "https://Example.com:443/Encer/")
    settings = load_settings()
    assert (settings.public_url, settings.public_path) == ("https://example.com/Encer", "/Encer")
    assert settings.own_origins == {"https://example.com"}


def test_pages_on_this_machine_may_open_sockets_under_each_name_of_it(monkeypatch):
    monkeypatch.setenv("PORT", "3123")
    assert load_settings().own_origins == {"http://127.0.0.1:3123", "http://localhost:3123", "http://[::1]:3123"}
    monkeypatch.setenv("DOCS_ENABLED", "false")
    assert load_settings().own_origins == frozenset()


def test_a_redirect_uri_is_kept_as_it_is_registered(monkeypatch):
    monkeypatch.setenv("TIKTOK_REDIRECT_URI", "https://API.example.com/callback/")
    assert load_settings().tiktok_redirect_uri == "https://API.example.com/callback/"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("::1", "http://[::1]:3000"),
        ("[::]", "http://[::]:3000"),
        ("0.0.0.0", "http://0.0.0.0:3000"),
        ("localhost", "http://localhost:3000"),
        ("fe80::1%eth0", "http://[fe80::1%25eth0]:3000"),
    ],
)
def test_ipv6_is_written_in_brackets(monkeypatch, host, url):
    monkeypatch.setenv("HOST", host)
    settings = load_settings()
    assert settings.public_url == url == url_of(settings.host, 3000)


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/0",
        "redis://:p%40ss%2F@h",
        "rediss://default:x@h:6379?ssl_cert_reqs=none",
        "unix:///run/redis.sock?db=1",
        "redis://h?health_check_interval=30",
    ],
)
def test_redis_addresses_of_hosters(monkeypatch, url):
    monkeypatch.setenv("REDIS_URL", url)
    accepted = load_settings().redis_url
    assert accepted and accepted.get_secret_value() == url


DURATIONS = [name for name, field in Settings.model_fields.items() if field.annotation is timedelta]


@pytest.mark.parametrize("name", DURATIONS)
def test_every_duration_needs_a_unit(monkeypatch, name):
    monkeypatch.setenv(name.upper(), "15")
    with pytest.raises(SettingsError, match=f"^{name.upper()}: .*unit.*15m"):
        load_settings()


def test_there_are_durations():
    assert {"access_token_expires_in", "refresh_token_expires_in", "scrape_timeout", "redis_timeout"} <= {*DURATIONS}


def test_an_unreadable_env_file_is_reported_in_one_line(tmp_path):
    (tmp_path / ".env").write_bytes(b"JWT_ACCESS_SECRET=\xff" + SECRET.encode())
    with pytest.raises(SettingsError, match=r"^\.env: must be a text file in UTF-8$"):
        load_settings()


@pytest.mark.parametrize(
    "line", ["PORT 3000", "JWT ACCESS=topsecret", "=topsecret", "EMAIL_PASS='topsecret", 'A="b" c']
)
@pytest.mark.parametrize(("before", "number"), [("", 1), ("PORT=3001\r\n\r\n  \n# text\n\n", 6)])
def test_a_line_of_the_env_file_that_cannot_be_parsed_is_named(tmp_path, line, before, number):
    (tmp_path / ".env").write_text(f"{before}{line}\nHOST=127.0.0.1\n", newline="")
    with pytest.raises(SettingsError) as failure:
        load_settings()
    assert str(failure.value) == f".env: line {number} cannot be read; write NAME=value, and close every quote"


def test_an_env_file_that_is_a_folder_is_refused(tmp_path):
    (tmp_path / ".env").mkdir()
    with pytest.raises(SettingsError, match=r"^\.env: is a folder; it must be a text file$"):
        load_settings()


def test_every_line_of_the_template_can_be_parsed(tmp_path):
    template = (ROOT / ".env.example").read_text()
    (tmp_path / ".env").write_text(re.sub(r"^# (?=[A-Z_]+=)", "", template, flags=re.MULTILINE))
    assert env_file_faults({}) == []


def test_a_job_switch_is_not_a_limit(monkeypatch):
    monkeypatch.setenv("APP_ENV", "production")
    monkeypatch.setenv("JOBS_ENABLED", "off")
    with pytest.raises(SettingsError) as failure:
        load_settings()
    assert "JOBS_ENABLED" not in str(failure.value)


# -- mail ------------------------------------------------------------------------------------------------------------

PRODUCTION = {
    "APP_ENV": "production",
    "DATABASE_URL": "postgresql://h/db",
    "REDIS_URL": "redis://h",
    "PUBLIC_URL": "https://a.com",
    "FRONTEND_URL": "https://b.com",
    "JWT_ACCESS_SECRET": "a" * 32,
    "JWT_REFRESH_SECRET": "b" * 32,
    "ENCRYPTION_KEY": "0" * 64,
}
FROM = {"EMAIL_FROM": "Encer <no-reply@example.com>"}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, {"EMAIL_SENDER", "EMAIL_FROM"}),
        (FROM, {"EMAIL_SENDER"}),
        ({"EMAIL_SENDER": "console"}, {"EMAIL_FROM"}),
        ({"RESEND_API_KEY": "re_x"}, {"EMAIL_FROM"}),
        ({"EMAIL_HOST": "mail.example.com"}, {"EMAIL_FROM"}),
        ({**FROM, "EMAIL_SENDER": "resend"}, {"RESEND_API_KEY"}),
        ({**FROM, "EMAIL_SENDER": "smtp", "RESEND_API_KEY": "re_x"}, {"EMAIL_HOST"}),
        ({"EMAIL_SENDER": "console", "EMAIL_FROM": "Encer"}, {"EMAIL_FROM"}),
        ({**FROM, "EMAIL_SENDER": "console"}, set()),
        ({**FROM, "RESEND_API_KEY": "re_x"}, set()),
        ({**FROM, "EMAIL_HOST": "mail.example.com"}, set()),
    ],
)
def test_production_does_not_start_without_a_mail_sender(monkeypatch, given, named):
    for name, value in {**PRODUCTION, **given}.items():
        monkeypatch.setenv(name, value)
    try:
        load_settings(sender_faults)
        faults = ""
    except SettingsError as error:
        faults = str(error)
    assert {line.partition(":")[0] for line in faults.splitlines()} == named
