"""The command serve's settings, help, version and what is no command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service import __version__
from tests.rig.canned import lever
from tests.rig.programs import ROOT

# --- serve


def test_serve_check_prints_the_settings_and_hides_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LEVER_WORKERS", "3")
    monkeypatch.setenv("LEVER_GRPC_PORT", "1111")
    options = ["--grpc-port", "2222", "--redis-url", "redis://:hush@127.0.0.1/0", "--experiments", str(tmp_path)]
    result = lever("serve", "--check", *options)
    assert result.exit_code == 0, result.output
    printed = dict(line.split("=", 1) for line in result.stdout.splitlines())
    wanted = {"LEVER_WORKERS": "3", "LEVER_GRPC_PORT": "2222", "LEVER_EXPERIMENTS": str(tmp_path)}
    assert wanted.items() <= printed.items()
    assert "hush" not in result.output


def test_serve_refuses_wrong_settings_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEVER_HTTP_PORT", "many")
    result = lever("serve", "--check", "--workers", "0")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert [line.split(": ")[:2] for line in result.stderr.splitlines()] == [
        ["error", "LEVER_HTTP_PORT"],
        ["error", "workers"],
    ]


# --- the program itself


def test_help_and_version_are_instant() -> None:
    script = (
        "import sys\n"
        "from service.cli.main import main\n"
        "sys.argv = ['lever', *sys.argv[1:]]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'numba', 'numpy', 'grpc', 'google.protobuf', 'redis', 'service.server.serve', 'service.process.settings'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    for arguments in (["--help"], ["select", "--help"], ["--version"]):
        command = [sys.executable, "-W", "error", "-c", script, *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert done.stdout == f"lever {__version__}\n"


def test_it_is_a_module_too(nobody: str) -> None:
    env = {**os.environ, "LEVER_SERVER": nobody}
    command = [sys.executable, "-m", "service", "list"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_unknown_commands_and_no_command() -> None:
    assert lever("dance").exit_code == 2
    assert "Usage" in lever().output
