"""What browsers may use: `client: true` in experiments, public keys in the file of keys, the settings of the web port."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli.main import app
from service.errors import InvalidError
from service.experiment.parse import parse
from service.process.settings import settings
from service.security.api_keys import Access, Key, read

EXPERIMENT = """\
experiment: hero
client: true
arms: [{id: a}]
default_arm: a
metrics:
  - {id: click, primary: true, client: true}
  - {id: revenue, max: 100, aggregate: sum}
"""
PUBLIC = Key.of(
    "page", "page", frozenset({"decide", "reward"}), frozenset({"https://a.example", "http://localhost:3000"})
)


def wrong(text: str) -> list[str]:
    with pytest.raises(InvalidError) as caught:
        parse(text)
    return [f"{violation.line}: {violation.field}" for violation in caught.value.violations]


def test_client_is_a_mark_of_experiments_and_metrics() -> None:
    spec = parse(EXPERIMENT)
    assert spec.client
    assert [metric.client for metric in spec.metrics] == [True, False]
    assert not parse(EXPERIMENT.replace("client: true\narms", "arms")).client


def test_what_browsers_send_counts_once_and_as_one() -> None:
    summed = EXPERIMENT.replace("aggregate: sum", "aggregate: sum, client: true")
    assert wrong(summed) == ["7: metrics[1].client"]
    assert wrong(EXPERIMENT.replace("client: true}", "client: true, min: 2, max: 3}")) == ["6: metrics[0].client"]
    assert wrong(EXPERIMENT.replace("client: true}", "client: 1}")) == ["6: metrics[0].client"]


def test_a_public_key_survives_the_file_and_opens_no_other_port(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text("keys:\n" + PUBLIC.line())
    assert read(path) == (PUBLIC,)
    access = Access(path)
    assert access.find("Bearer page") == PUBLIC
    assert access.scopes("Bearer page") == frozenset()
    assert access.scopes("Bearer nobody") is None
    assert access.origins == PUBLIC.origins


@pytest.mark.parametrize(
    ("rest", "field"),
    [
        ("scopes: [decide], public: true", "origins"),
        ("scopes: [decide], public: true, origins: []", "origins"),
        ("scopes: [decide], public: true, origins: ['*']", "origins"),
        ("scopes: [decide], public: true, origins: ['https://a.example/']", "origins"),
        ("scopes: [decide], origins: ['https://a.example']", "origins"),
        ("scopes: [read], public: true, origins: ['https://a.example']", "scopes"),
        ("scopes: [decide, admin], public: true, origins: ['https://a.example']", "scopes"),
    ],
)
def test_public_keys_that_are_refused(tmp_path: Path, rest: str, field: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(f"keys:\n  - {{name: page, hash: '{PUBLIC.hash}', {rest}}}\n")
    with pytest.raises(InvalidError) as caught:
        read(path)
    assert [v.field.rpartition(".")[2] for v in caught.value.violations] == [field]


def test_a_public_key_is_made_for_its_origins() -> None:
    made = CliRunner().invoke(app, ["key", "new", "--scope", "decide", "--origin", "https://a.example"])
    assert made.exit_code == 0
    assert 'public: true, origins: ["https://a.example"]' in made.output
    for arguments in (
        ["--scope", "admin", "--origin", "https://a.example"],
        ["--scope", "decide", "--origin", "a.example"],
    ):
        assert CliRunner().invoke(app, ["key", "new", *arguments]).exit_code == 2


def test_the_web_port_is_shut_unless_asked_for_and_never_the_side_port() -> None:
    assert settings({}, {}).web_port is None
    assert settings({"web_port": 0}, {}).web_port == 0
    with pytest.raises(InvalidError, match="web_port"):
        settings({"web_port": 8080}, {})
    with pytest.raises(InvalidError, match="web_host"):
        settings({"web_port": 0, "web_host": "0.0.0.0"}, {})  # noqa: S104  # that is what is refused
    assert settings({"web_host": "0.0.0.0"}, {}).web_port is None  # noqa: S104  # nothing is served there


def test_the_former_option_works_and_is_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("LEVER_WEB_PORT", "LEVER_DOOR_PORT"):
        monkeypatch.delenv(name, raising=False)
    run = CliRunner().invoke
    for options in (["--web-port", "8081"], ["--door-port", "8081"], ["--door-port", "1", "--web-port", "8081"]):
        made = run(app, ["serve", "--check", "--data-dir", str(tmp_path), *options])
        assert made.exit_code == 0, made.output
        assert "LEVER_WEB_PORT=8081" in made.output
    for command in ([], ["serve"], ["verify"], ["export"], ["import"], ["doctor"]):
        told = run(app, [*command, "--help"], env={"COLUMNS": "200"}).output.lower()
        assert "usage" in told
        assert not {"door", "lane", "fold", "claim", "shelf"} & set(re.findall("[a-z]+", told))
