from __future__ import annotations

import base64
import io
import json
import logging
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog

from service import logs
from service.errors import InvalidError, Violation
from service.process.settings import Settings, hidden, packed, settings
from service.security import secrets
from service.security.api_keys import Key

KEY = bytes(range(32))
KEY_TEXT = base64.b64encode(KEY).decode()


def wrong(overrides: dict[str, object] | None = None, env: dict[str, str] | None = None) -> list[Violation]:
    with pytest.raises(InvalidError) as caught:
        settings(overrides or {}, env or {})
    return list(caught.value.violations)


def test_defaults_are_the_shipped_ones() -> None:
    made = settings({}, {})
    assert made == Settings()
    assert (made.grpc_host, made.grpc_port, made.http_port, made.workers) == ("127.0.0.1", 50051, 8080, 1)
    assert (made.data_dir, made.redis_url, made.buffer_bytes) == (Path(".lever"), "", 64 << 20)


def test_options_win_over_variables_over_defaults() -> None:
    env = {"LEVER_GRPC_PORT": "1000", "LEVER_HTTP_PORT": "1001", "LEVER_SERVER": "elsewhere", "PATH": "x"}
    made = settings({"grpc_port": 2000, "workers": None}, env)
    assert (made.grpc_port, made.http_port, made.workers) == (2000, 1001, 1)


def test_every_setting_can_be_a_variable(tmp_path: Path) -> None:
    keys_file, pem = tmp_path / "keys.yaml", tmp_path / "some.pem"  # a pair is looked into when it is loaded
    keys_file.write_text("keys:\n" + Key.of("secret", "web", frozenset({"decide"})).line())
    pem.touch()
    texts = {
        "DATA_DIR": "d", "REDIS_URL": "rediss://h", "GRPC_HOST": "::1", "GRPC_PORT": "1", "HTTP_HOST": "localhost",
        "HTTP_PORT": "2", "WORKERS": "3", "EXPERIMENTS": str(tmp_path), "TOKEN_KEYS": KEY_TEXT, "INSECURE": "yes",
        "FLUSH_MS": "4", "POLL_MS": "5", "BUFFER_BYTES": "6mb", "STATE_MAX": "7", "CHOICE_THREADS": "8",
        "REWARD_THREADS": "9", "MAX_STREAMS": "10", "MAX_WAITING": "12", "MAX_CALLS": "13",
        "KEYS_FILE": str(keys_file), "TLS_CERT": str(pem), "TLS_KEY": str(pem), "TLS_CLIENT_CA": str(pem),
        "GRACE_S": "11", "LOG_LEVEL": "DEBUG", "LOG_JSON": "true", "WEB_HOST": "localhost", "WEB_PORT": "15",
        "WATCHDOG_S": "16",
    }  # fmt: skip
    assert settings({}, {f"LEVER_{name}": text for name, text in texts.items()}) == Settings(
        Path("d"), "rediss://h", "::1", 1, "localhost", 2, 3, tmp_path, (KEY,), True, 4, 5, 6 << 20, 7, 8, 9, 10, 12, 13,
        keys_file, pem, pem, pem, 11, "debug", "true", "localhost", 15, 16,
    )  # fmt: skip


def test_a_former_name_is_understood_and_the_new_one_wins(tmp_path: Path) -> None:
    env = {"LEVER_DOOR_PORT": "15", "LEVER_DOOR_HOST": "localhost"}
    made = settings({}, env)
    assert (made.web_host, made.web_port) == ("localhost", 15)
    assert "DOOR" not in str(made)
    assert settings({}, {**env, "LEVER_WEB_PORT": "16"}).web_port == 16
    assert settings({"web_port": 17}, env).web_port == 17
    assert [v.field for v in wrong(env={"LEVER_DOOR_PORT": "many"})] == ["LEVER_DOOR_PORT"]


def test_all_that_is_wrong_is_told_at_once_by_its_own_name() -> None:
    found = wrong({"workers": 0, "colour": 1}, {"LEVER_TOKEN_KEYS": f"{KEY_TEXT},!", "LEVER_BUFFER_BYTES": "many"})
    assert {violation.field for violation in found} == {"workers", "colour", "LEVER_TOKEN_KEYS", "LEVER_BUFFER_BYTES"}
    assert "key 2 is not base64" in [violation.message for violation in found]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("grpc_port", "65536"), ("grpc_port", "1.5"), ("workers", "65"), ("redis_url", "http://h"), ("insecure", "maybe"),
        ("log_level", "loud"), ("token_keys", "c2hvcnQ="), ("buffer_bytes", "0"), ("grpc_host", "a b"),
        ("experiments", "/nonexistent/experiments"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused(name: str, text: str) -> None:
    assert [violation.field for violation in wrong({name: text})] == [name]


def test_plaintext_off_loopback_needs_a_word() -> None:
    assert [v.field for v in wrong({"grpc_host": "0.0.0.0", "http_host": "::"})] == ["grpc_host", "http_host"]  # noqa: S104
    assert settings({"grpc_host": "0.0.0.0", "insecure": True}, {}).grpc_host == "0.0.0.0"  # noqa: S104
    for host in ("127.0.0.5", "::1", "[::1]", "localhost"):
        settings({"grpc_host": host}, {})


def test_the_two_ports_differ_unless_both_are_free_ones() -> None:
    assert [v.field for v in wrong({"grpc_port": 5000, "http_port": 5000})] == ["http_port"]
    settings({"grpc_port": 0, "http_port": 0}, {})


def test_secrets_never_show() -> None:
    made = settings({"redis_url": "redis://bob:pa55@h:1/0?password=pa55", "token_keys": KEY_TEXT}, {})
    for text in (str(made), repr(made), f"{made}"):
        assert "pa55" not in text
        assert KEY_TEXT not in text
        assert repr(KEY) not in text
        assert "LEVER_REDIS_URL=redis://***@h:1/0?***" in text
        assert "LEVER_TOKEN_KEYS=(1 hidden)" in text
    assert hidden("unix:///run/redis.sock") == "unix:///run/redis.sock"


def test_children_get_the_very_same_settings() -> None:
    made = settings({"redis_url": "redis://:pa55@h", "token_keys": f"{KEY_TEXT},{KEY_TEXT}", "insecure": "1"}, {})
    assert settings(packed(made), {}) == made
    assert settings(packed(Settings()), {"LEVER_WORKERS": "5"}) == Settings()


def test_keys_are_made_once_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "data" / "token.key"
    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(secrets.in_file, [path] * 32))
    assert len(made) == 1
    assert len(made.pop()) == secrets.BYTES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["token.key"]


def test_keys_of_a_shared_store_are_the_stores(tmp_path: Path) -> None:
    kept: dict[str, bytes] = {}
    first, second = (secrets.find((), None, kept.setdefault) for _ in range(2))
    assert first == second
    assert first.tokens[0] != first.subjects
    given = secrets.find((KEY,), None, kept.setdefault)
    assert (given.tokens, given.subjects) == ((KEY,), first.subjects)
    local = secrets.find((), tmp_path, kept.setdefault)
    assert local == secrets.find((), tmp_path, kept.setdefault)
    assert local.subjects != first.subjects


def test_logs_are_one_json_line_an_event() -> None:
    out = io.StringIO()
    try:
        logs.configure("info", "auto", out, worker="3")
        log = structlog.get_logger("lever.test")
        log.info("applied", version=2)
        log.debug("unseen")
        log.error("incident", exc_info=ValueError("inside"))
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers.clear()
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert (first["event"], first["version"], first["worker"], first["level"]) == ("applied", 2, "3", "info")
    assert second["exception"] == "ValueError"  # what it says may be somebody's
