"""Every setting, from the environment and as a flag; errors say what to write instead."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from kue.errors import KueError
from kue.settings import OPTIONS, Settings, SettingsError

#: variable, flag, text, field, value
GOOD: list[tuple[str, str, str, str, Any]] = [
    ("HOST", "--host", "localhost", "host", "localhost"),
    ("HOST", "--host", "::1", "host", "::1"),
    ("HOST", "--host", "[::1]", "host", "::1"),
    ("PORT", "--port", "3001", "port", 3001),
    ("PORT", "--port", " 80 ", "port", 80),
    ("REDIS_URL", "--redis-url", "redis://r:1/2", "redis_url", "redis://r:1/2"),
    ("REDIS_URL", "--redis-url", "rediss://u:p@r", "redis_url", "rediss://u:p@r"),
    ("REDIS_URL", "--redis-url", "unix:///run/r.sock", "redis_url", "unix:///run/r.sock"),
    ("REDIS_URL", "--redis-url", "redis+sentinel://a:1,b:2/m", "redis_url", "redis+sentinel://a:1,b:2/m"),
    ("REDIS_URL", "--redis-url", "redis+cluster://a:1", "redis_url", "redis+cluster://a:1"),
    ("KUE_PREFIX", "--prefix", "{jobs}", "prefix", "{jobs}"),
    ("KUE_DATA_DIR", "--data-dir", "/a b/c", "data_dir", Path("/a b/c")),
    ("KUE_CONCURRENCY", "--concurrency", "20", "concurrency", 20),
    ("KUE_WORKERS", "--workers", "0", "workers", 0),
    ("DOWNLOAD_DIR", "--download-dir", "files", "download_dir", Path("files")),
    ("DOWNLOAD_ALLOW", "--download-allow", "intra, 10.0.0.0/8 ", "download_allow", ("intra", "10.0.0.0/8")),
    ("DOWNLOAD_ALLOW", "--download-allow", "127.0.0.1:3000,[::1]:80", "download_allow", ("127.0.0.1:3000", "[::1]:80")),
    ("DOWNLOAD_MAX_BYTES", "--download-max-bytes", "1000", "download_max_bytes", 1000),
    ("DOWNLOAD_MAX_BYTES", "--download-max-bytes", "2 GiB", "download_max_bytes", 2 * 2**30),
    ("DOWNLOAD_MAX_BYTES", "--download-max-bytes", "500m", "download_max_bytes", 500 * 2**20),
    ("DOWNLOAD_MIN_FREE", "--download-min-free", "2G", "download_min_free", 2 * 2**30),
    ("DOWNLOAD_MIN_FREE", "--download-min-free", "0", "download_min_free", None),
    ("DOWNLOAD_RATE", "--download-rate", "5M", "download_rate", 5 * 2**20),
    ("DOWNLOAD_RATE", "--download-rate", "0", "download_rate", None),
    ("DOWNLOAD_PER_HOST", "--download-per-host", "2", "download_per_host", 2),
    ("DOWNLOAD_PROXY", "--download-proxy", "socks5h://u:p@p:1", "download_proxy", "socks5h://u:p@p:1"),
    ("DOWNLOAD_CA_BUNDLE", "--download-ca-bundle", __file__, "download_ca_bundle", Path(__file__)),
    ("DOWNLOAD_CLIENT_CERT", "--download-client-cert", __file__, "download_client_cert", Path(__file__)),
    ("KUE_KEEP_COMPLETE", "--keep-complete", "0", "keep_complete", 0),
    ("KUE_KEEP_FAILED", "--keep-failed", "All", "keep_failed", None),
    ("KUE_KEEP_DAYS", "--keep-days", "7", "keep_days", 7),
    ("KUE_AUTH", "--auth", "ada:pa:ss", "auth", "ada:pa:ss"),
    ("KUE_AUTH_READONLY", "--auth-readonly", "eva:x", "auth_readonly", "eva:x"),
    ("KUE_TOKEN", "--token", "0123456789abcdef", "token", "0123456789abcdef"),
    ("KUE_TOKEN_READONLY", "--token-readonly", "0123456789abcdef", "token_readonly", "0123456789abcdef"),
    ("KUE_ALLOW_ANONYMOUS", "--allow-anonymous", "1", "allow_anonymous", True),
    ("KUE_ALLOW_ANONYMOUS", "--allow-anonymous", "no", "allow_anonymous", False),
    (
        "KUE_CORS_ORIGINS",
        "--cors-origins",
        "https://a.example/,http://b:81",
        "cors_origins",
        ("https://a.example", "http://b:81"),
    ),
    ("KUE_CORS_ORIGINS", "--cors-origins", "*", "cors_origins", ("*",)),
    ("KUE_TRUSTED_PROXIES", "--trusted-proxies", "2", "trusted_proxies", 2),
    (
        "KUE_TRUSTED_PROXIES",
        "--trusted-proxies",
        "127.0.0.1, 10.1.2.3/8",
        "trusted_proxies",
        (ip_network("127.0.0.1"), ip_network("10.0.0.0/8")),
    ),
    ("KUE_BASE_PATH", "--base-path", "/ops/kue/", "base_path", "/ops/kue"),
    ("KUE_BASE_PATH", "--base-path", "/", "base_path", ""),
    ("KUE_AUTH_HEADER", "--auth-header", "X-Forwarded-User", "auth_header", "X-Forwarded-User"),
    (
        "KUE_AUTH_HEADER_USERS",
        "--auth-header-users",
        "anna@a.example, eva:read,*:read",
        "auth_header_users",
        (("anna@a.example", "write"), ("eva", "read"), ("*", "read")),
    ),
    ("KUE_ALLOWED_HOSTS", "--allowed-hosts", "Jobs.example, *.b", "allowed_hosts", ("jobs.example", "*.b")),
    ("KUE_INTERNAL_URL", "--internal-url", "http://Web:3000/", "internal_url", "http://web:3000"),
    ("KUE_INTERNAL_URL", "--internal-url", "https://[::1]", "internal_url", "https://[::1]:443"),
    ("KUE_WEBHOOK_URL", "--webhook-url", "https://h.example/x?y", "webhook_url", "https://h.example/x?y"),
    (
        "KUE_WEBHOOK_EVENTS",
        "--webhook-events",
        "failed, failed attempt,alert",
        "webhook_events",
        ("failed", "failed attempt", "alert"),
    ),
    ("KUE_WEBHOOK_TYPES", "--webhook-types", "bill, big mail", "webhook_types", ("bill", "big mail")),
    ("KUE_WEBHOOK_SECRET", "--webhook-secret", f"whsec_{'A' * 32}", "webhook_secret", f"whsec_{'A' * 32}"),
    ("KUE_WEBHOOK_FORMAT", "--webhook-format", "slack", "webhook_format", "slack"),
    ("KUE_WEBHOOK_PROXY", "--webhook-proxy", "http://u:p@p:1", "webhook_proxy", "http://u:p@p:1"),
    ("KUE_WEBHOOK_ALLOW", "--webhook-allow", "10.0.0.0/8,intra:80", "webhook_allow", ("10.0.0.0/8", "intra:80")),
    ("KUE_ALERT_FAILURE_RATE", "--alert-failure-rate", "20%", "alert_failure_rate", 20.0),
    ("KUE_ALERT_FAILURE_RATE", "--alert-failure-rate", "off", "alert_failure_rate", None),
    ("KUE_ALERT_QUEUE_TIME", "--alert-queue-time", "15m", "alert_queue_time", 900_000),
    ("KUE_ALERT_NO_WORKER", "--alert-no-worker", "Off", "alert_no_worker", None),
    ("KUE_ALERT_REDIS_MEMORY", "--alert-redis-memory", "75", "alert_redis_memory", 75.0),
    ("KUE_ALERT_DISK_FREE", "--alert-disk-free", "500M", "alert_disk_free", 500 * 2**20),
]

GOOD += [
    ("KUE_AUTH_GROUPS_HEADER", "--auth-groups-header", "Remote-Groups", "auth_groups_header", "Remote-Groups"),
    (
        "KUE_AUTH_HEADER_GROUPS",
        "--auth-header-groups",
        "ops, it desk:read",
        "auth_header_groups",
        (("ops", "write"), ("it desk", "read")),
    ),
    ("KUE_USERS_FILE", "--users-file", "/etc/kue/users", "users_file", Path("/etc/kue/users")),
    ("KUE_SESSION_LIFETIME", "--session-lifetime", "12h", "session_lifetime", 12 * 3600),
    ("KUE_LOG_FORMAT", "--log-format", "JSON", "log_format", "json"),
]

#: What else must be set.
_SIGN_ON = {"KUE_TRUSTED_PROXIES": "10.0.0.1", "KUE_AUTH_HEADER": "Remote-User", "KUE_AUTH_HEADER_USERS": "anna"}
_GROUPS = {**_SIGN_ON, "KUE_AUTH_GROUPS_HEADER": "Remote-Groups", "KUE_AUTH_HEADER_GROUPS": "ops"}
NEEDED = {
    "KUE_AUTH_GROUPS_HEADER": _GROUPS,
    "KUE_AUTH_HEADER_GROUPS": _GROUPS,
    "KUE_AUTH_HEADER": _SIGN_ON,
    "KUE_AUTH_HEADER_USERS": _SIGN_ON,
}

#: variable, text, what the message must say
BAD = [
    ("HOST", "http://localhost", "without http://"),
    ("HOST", "localhost:3000", "PORT"),
    ("HOST", "a b", "address of this machine"),
    ("PORT", "0", "whole number from 1 to 65535"),
    ("PORT", "65536", "whole number from 1 to 65535"),
    ("PORT", "3000.5", "whole number"),
    ("PORT", "٣٠٠٠", "whole number"),
    ("PORT", "9" * 5000, "whole number"),
    ("REDIS_URL", "localhost:6379", "redis://127.0.0.1:6379/0"),
    ("REDIS_URL", "http://localhost:6379", "redis://127.0.0.1:6379/0"),
    ("REDIS_URL", "redis://", "redis://127.0.0.1:6379/0"),
    ("REDIS_URL", "redis://host:port", "redis://127.0.0.1:6379/0"),
    ("REDIS_URL", "redis://[::1", "redis://127.0.0.1:6379/0"),
    ("REDIS_URL", "unix://", "redis://127.0.0.1:6379/0"),
    ("KUE_PREFIX", "a b", "short word"),
    ("KUE_TRUSTED_PROXIES", "nginx", "not an address"),
    ("KUE_TRUSTED_PROXIES", "0.0.0.0/0", "includes every address"),
    ("KUE_BASE_PATH", "kue", "a path such as /kue"),
    ("KUE_AUTH_HEADER", "X Forwarded", "the name of a header"),
    ("KUE_AUTH_HEADER_USERS", ":read", "not a user"),
    ("KUE_AUTH_GROUPS_HEADER", "X Groups", "the name of a header"),
    ("KUE_AUTH_HEADER_GROUPS", "*", "not a group"),
    ("KUE_USERS_FILE", "/", "this is a folder"),
    ("KUE_LOG_FORMAT", "xml", "text or json"),
    ("KUE_SESSION_LIFETIME", "7", "not a duration"),
    ("KUE_SESSION_LIFETIME", "2s", "from 1m to 365d"),
    ("KUE_BASE_PATH", "//evil.test", "a path such as /kue"),
    ("KUE_BASE_PATH", "/a/../b", "a path such as /kue"),
    ("KUE_ALLOWED_HOSTS", "http://a", "not a host name"),
    ("KUE_ALLOWED_HOSTS", "*", "not a host name"),
    ("KUE_INTERNAL_URL", "web:3000", "such as http://web:3000"),
    ("KUE_INTERNAL_URL", "http://user@web", "such as http://web:3000"),
    ("KUE_INTERNAL_URL", "http://web/kue", "such as http://web:3000"),
    ("KUE_CONCURRENCY", "0", "from 1"),
    ("KUE_CONCURRENCY", "many", "whole number"),
    ("KUE_WORKERS", "-1", "from 0"),
    ("DOWNLOAD_DIR", __file__, "this is a file"),
    ("KUE_DATA_DIR", "a\0b", "NUL"),
    ("DOWNLOAD_ALLOW", "http://intranet", "without http://|not a host"),
    ("DOWNLOAD_ALLOW", "10.0.0.0/33", "not a host or a network"),
    ("DOWNLOAD_MAX_BYTES", "0", "500M"),
    ("DOWNLOAD_MAX_BYTES", "10 apples", "500M"),
    ("DOWNLOAD_MAX_BYTES", "-5", "500M"),
    ("DOWNLOAD_MIN_FREE", "much", "500M"),
    ("DOWNLOAD_RATE", "fast", "500M"),
    ("DOWNLOAD_PER_HOST", "-1", "whole number"),
    ("DOWNLOAD_PROXY", "proxy:3128", "http://proxy:3128"),
    ("DOWNLOAD_PROXY", "ftp://proxy", "http://proxy:3128"),
    ("DOWNLOAD_CA_BUNDLE", "/nonexistent", "no such file"),
    ("DOWNLOAD_CLIENT_CERT", "/nonexistent", "no such file"),
    ("KUE_KEEP_COMPLETE", "-1", "or all"),
    ("KUE_KEEP_FAILED", "none", "or all"),
    ("KUE_KEEP_DAYS", "1.5", "whole number"),
    ("KUE_AUTH", "justapassword", "user:password"),
    ("KUE_AUTH", ":password", "user:password"),
    ("KUE_AUTH", "user:", "user:password"),
    ("KUE_AUTH_READONLY", "justapassword", "user:password"),
    ("KUE_TOKEN", "too short", "at least 16"),
    ("KUE_TOKEN", "0123456789 abcdef", "without spaces"),
    ("KUE_TOKEN_READONLY", "short", "at least 16"),
    ("KUE_ALLOW_ANONYMOUS", "perhaps", "1 or 0"),
    ("KUE_CORS_ORIGINS", "example.org", "https://example.org"),
    ("KUE_WEBHOOK_URL", "h.example", "https://example.com/hook"),
    ("KUE_WEBHOOK_URL", "https://u:p@h.example/", "without user"),
    ("KUE_WEBHOOK_TYPES", "bill,webhook-delivery", "deliver to webhooks"),
    ("KUE_ALERT_NO_WORKER", "5", "not a duration"),
    ("KUE_ALERT_REDIS_MEMORY", "much", "20%, or off"),
    ("KUE_WEBHOOK_EVENTS", "fialed", "there is no event 'fialed'"),
    ("KUE_WEBHOOK_SECRET", "swordfish", "24 to 64 bytes"),
    ("KUE_WEBHOOK_FORMAT", "teams", "standard, slack, ntfy"),
    ("KUE_WEBHOOK_PROXY", "proxy:3128", "http://proxy:3128"),
    ("KUE_WEBHOOK_ALLOW", "http://intranet", "without http://|not a host"),
    ("KUE_ALERT_FAILURE_RATE", "0", "20%, or off"),
    ("KUE_ALERT_FAILURE_RATE", "101%", "20%, or off"),
    ("KUE_ALERT_QUEUE_TIME", "soon", "not a duration"),
    ("KUE_ALERT_DISK_FREE", "little", "500M"),
    ("KUE_CORS_ORIGINS", "https://example.org/page", "https://example.org"),
]


def test_the_defaults_are_those_of_the_documentation() -> None:
    settings = Settings.load({})
    assert settings == Settings(
        host="127.0.0.1",
        port=3000,
        redis_url=None,
        prefix="q",
        data_dir=Path(".kue"),
        concurrency=1,
        workers=1,
        keep_complete=10_000,
        keep_failed=10_000,
        keep_days=30,
        download_dir=Path("downloads"),
        download_allow=(),
        download_max_bytes=10 * 2**30,
        download_min_free=256 * 2**20,
        download_rate=None,
        download_per_host=None,
        download_proxy=None,
        download_ca_bundle=None,
        download_client_cert=None,
        auth=None,
        auth_readonly=None,
        token=None,
        token_readonly=None,
        allow_anonymous=False,
        cors_origins=(),
        alert_failure_rate=50.0,
        alert_no_worker=300_000,
        alert_redis_memory=90.0,
        alert_disk_free=2**30,
    )


@pytest.mark.parametrize(("variable", "flag", "text", "field", "value"), GOOD)
def test_a_setting_is_read_from_its_variable(variable: str, flag: str, text: str, field: str, value: Any) -> None:
    assert getattr(Settings.load({**NEEDED.get(variable, {}), variable: text}), field) == value


@pytest.mark.parametrize(("variable", "flag", "text", "field", "value"), GOOD)
def test_a_setting_is_read_from_its_flag(variable: str, flag: str, text: str, field: str, value: Any) -> None:
    assert getattr(Settings.load(NEEDED.get(variable, {}), [flag, text]), field) == value


def test_every_option_is_tried_above() -> None:
    assert {option.variable for option in OPTIONS} == {row[0] for row in GOOD} == {row[0] for row in BAD}


@pytest.mark.parametrize(("variable", "text", "said"), BAD)
def test_a_bad_value_says_what_to_write(variable: str, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        Settings.load({variable: text})
    assert str(caught.value).startswith(variable)


def test_a_flag_wins_over_the_environment() -> None:
    assert Settings.load({"PORT": "1"}, ["--port", "2"]).port == 2


def test_an_error_in_a_flag_names_the_flag() -> None:
    with pytest.raises(SettingsError, match="^--port=x"):
        Settings.load({}, ["--port", "x"])


def test_a_flag_that_is_overridden_is_not_even_read_from_the_environment() -> None:
    assert Settings.load({"PORT": "nonsense"}, ["--port", "2"]).port == 2


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.variable)
def test_an_empty_variable_is_an_unset_one(option: Any) -> None:
    assert Settings.load({option.variable: "  "}) == Settings.load({})


def test_the_bare_switch_means_yes() -> None:
    assert Settings.load({}, ["--allow-anonymous"]).allow_anonymous


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "kue.example"])
def test_other_machines_are_let_in_only_with_a_password_or_when_said_aloud(host: str) -> None:
    with pytest.raises(SettingsError, match="KUE_AUTH=user:password .--auth., or KUE_ALLOW_ANONYMOUS=1"):
        Settings.load({"HOST": host})
    for name, value in (("AUTH", "a:b"), ("AUTH_READONLY", "a:b"), ("TOKEN", "t" * 16), ("TOKEN_READONLY", "t" * 16)):
        assert Settings.load({"HOST": host, f"KUE_{name}": value}).host == host
    assert Settings.load({"HOST": host, "KUE_ALLOW_ANONYMOUS": "1"}).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"])
def test_this_machine_alone_needs_no_password(host: str) -> None:
    assert Settings.load({"HOST": host}).auth is None


def test_secrets_are_not_shown() -> None:
    secrets = {"KUE_AUTH": "ada:lovelace", "KUE_AUTH_READONLY": "eva:lovelace", "KUE_TOKEN": "lovelace" * 2}
    settings = Settings.load({**secrets, "REDIS_URL": "redis://:h@mlet@host:1/0"})
    assert "lovelace" not in repr(settings) and "mlet" not in repr(settings)
    assert "redis://:***@host:1/0" in repr(settings)
    for variable, value in (("KUE_AUTH", "lovelace"), ("KUE_TOKEN", "lovelace"), ("REDIS_URL", "http://:lovelace@host")):
        with pytest.raises(SettingsError) as caught:
            Settings.load({variable: value})
        assert "lovelace" not in str(caught.value)


def test_two_roles_are_told_apart() -> None:
    for pair in (("KUE_AUTH", "a:b", "a:c"), ("KUE_TOKEN", "t" * 16, "t" * 16)):
        name, value, other = pair
        with pytest.raises(SettingsError, match=f"^{name}_READONLY: use a different"):
            Settings.load({name: value, f"{name}_READONLY": other})


def test_settings_do_not_change() -> None:
    with pytest.raises(AttributeError):
        Settings.load({}).port = 1  # type: ignore[misc]


def test_its_error_is_one_of_the_librarys() -> None:
    assert issubclass(SettingsError, KueError) and issubclass(SettingsError, ValueError)


def test_help_shows_every_flag_with_its_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        Settings.load({}, ["--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    for option in OPTIONS:
        assert option.flag in text and option.variable in text


@pytest.mark.parametrize("argv", [["--prot", "1"], ["--por", "1"], ["extra"]])
def test_an_unknown_word_on_the_command_line_is_an_error(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        Settings.load({}, argv)
    assert caught.value.code == 2
    assert argv[0] in capsys.readouterr().err
