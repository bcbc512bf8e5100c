"""`lever doctor` on real installations, whole and with one thing wrong at a time."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.security.api_keys import Key, new_secret
from service.store.embedded import Embedded
from tests.rig.credentials import write_keys
from tests.rig.lever import HERO, Lever
from tests.rig.programs import ROOT
from tests.rig.waiting import eventually

PASSWORD = "open-sesame"


@dataclass
class Said:
    """What doctor printed, and how it ended."""

    status: int
    text: str
    found: dict[str, dict[str, str]]

    def result(self, check: str) -> str:
        return self.found[check]["result"]

    def words(self, check: str) -> str:
        return f"{self.found[check]['said']} | {self.found[check]['todo']}"

    def problems(self) -> set[str]:
        return {check for check, one in self.found.items() if one["result"] == "problem"}


def run(*options: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service", *options]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LEVER_")}
    return subprocess.run(command, cwd=ROOT, env=clean | env, capture_output=True, text=True, timeout=100, check=False)


def doctor(*options: str, **env: str) -> Said:
    done = run("doctor", "--json", *options, **env)
    assert done.stdout, done.stderr
    assert "Traceback" not in done.stderr
    return Said(done.returncode, done.stdout + done.stderr, {one["check"]: one for one in json.loads(done.stdout)})


@pytest.fixture(scope="module")
def free() -> Iterator[int]:
    """A port that nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture(scope="module")
def lever(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lever]:
    folder = tmp_path_factory.mktemp("doctor")
    (folder / "hero.yaml").write_text(HERO)
    with Lever(folder, "--experiments", str(folder / "hero.yaml")) as made:
        yield made


def of(lever: Lever) -> list[str]:
    return ["--server", lever.address, "--http", f"http://{lever.http}", "--data-dir", str(lever.data)]


def well(lever: Lever, seconds: float = 60) -> Said:
    """What doctor says as soon as nothing is wrong; metrics come once a second."""
    deadline = time.monotonic() + seconds
    while True:
        said = doctor(*of(lever))
        wrong = {check: said.words(check) for check in said.found if said.result(check) in {"warning", "problem"}}
        if said.status == 0 and not wrong:
            return said
        assert time.monotonic() < deadline, wrong


def told(lever: Lever) -> set[str]:
    """Names of the metrics that have samples."""
    return set(re.findall(r"^(\w+)", lever.page("/metrics")[1], re.MULTILINE))


def test_a_healthy_installation(lever: Lever) -> None:
    # Until the first dump with something in it, these ages are not told, and skipped.
    eventually(lambda: {"lever_snapshot_age_seconds", "lever_flush_age_seconds"} <= told(lever))
    said = well(lever)
    for check in ("gRPC", "metrics", "workers", "way to the store", "snapshots", "flush", "store", "eviction"):
        assert said.result(check) == "ok", said.words(check)
    assert "survive a crash of any process and a power loss" in said.words("durability")
    assert said.words("experiments").startswith("the 1 experiments of the store are those that are served")
    shown = run("doctor", *of(lever))
    assert shown.returncode == 0
    assert "is serving" in shown.stdout
    assert "problem" not in shown.stdout


def test_a_wrong_port_is_named_and_the_rest_is_looked_at(lever: Lever, free: int) -> None:
    nowhere = f"127.0.0.1:{free}"
    said = doctor("--server", nowhere, "--http", f"http://{nowhere}", *of(lever)[4:])
    assert said.status == 1
    assert {"gRPC", "metrics"} <= said.problems()
    assert f"no Lever server answers at {nowhere}" in said.words("gRPC")
    assert "--http" in said.words("metrics")
    assert said.result("workers") == "skipped"
    assert said.result("eviction") == "ok"


def test_another_program_on_the_side_port_and_a_server_that_is_not_lever(lever: Lever) -> None:
    said = doctor("--server", lever.http, "--http", f"http://{lever.http}/nowhere", *of(lever)[4:])
    assert {"gRPC", "metrics"} <= said.problems()
    assert "HTTP 404" in said.words("metrics")


def test_a_frozen_store_and_its_return(lever: Lever) -> None:
    (engine,) = lever.children("valkey")
    os.kill(engine, signal.SIGSTOP)
    try:
        eventually(lambda: "lever_store_up 0.0" in lever.page("/metrics")[1])
        said = doctor(*of(lever))
        assert said.status == 1
        assert said.problems() == {"way to the store", "store"}
        assert "rewards are refused" in said.words("way to the store")
        assert "engine.log" in said.words("store")
    finally:
        os.kill(engine, signal.SIGCONT)
    well(lever)


def test_keys_that_others_can_read(lever: Lever) -> None:
    data = lever.data
    (data / "token.key").chmod(0o644)
    try:
        said = doctor(*of(lever))
        assert said.problems() == {"secrets"}
        assert f"chmod 600 {data / 'token.key'}" in said.words("secrets")
    finally:
        (data / "token.key").chmod(0o600)


def test_a_store_that_was_emptied(lever: Lever) -> None:
    with redis.Redis(unix_socket_path=str(lever.data / "engine.sock"), protocol=2) as client:
        client.flushall()
    eventually(lambda: 'lever_lost{experiment="hero"} 1.0' in lever.page("/metrics")[1])
    said = doctor(*of(lever))
    assert said.problems() == {"lost"}
    assert "hero" in said.words("lost")
    assert "lever restore" in said.words("lost")
    assert said.result("experiments") == "warning"
    for command in (["accept-loss", "hero", "--yes"], ["apply", str(lever.folder / "hero.yaml")]):
        done = run(*command, "--server", lever.address)
        assert done.returncode == 0, done.stderr
    well(lever)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[redis.Redis]:
    """An engine of the test's own, as Lever starts it; to be set up badly."""
    made = Embedded(tmp_path / "engine")
    made.start()
    try:
        with redis.Redis.from_url(made.url, protocol=2) as client:
            yield client
    finally:
        made.stop()


def test_a_badly_configured_store(engine: redis.Redis, tmp_path: Path, free: int) -> None:
    url = f"unix://{tmp_path / 'engine' / 'engine.sock'}"

    def asked(given: str = url) -> Said:
        return doctor("--server", f"127.0.0.1:{free}", "--http", f"http://127.0.0.1:{free}", "--redis-url", given)

    engine.config_set("maxmemory-policy", "allkeys-lru")
    engine.config_set("appendfsync", "everysec")
    said = asked()
    assert (said.status, said.result("eviction"), said.result("durability")) == (1, "problem", "warning")
    assert "CONFIG SET maxmemory-policy noeviction" in said.words("eviction")
    assert "up to 2 s of them may go" in said.words("durability")
    assert said.result("disk") == "skipped"

    engine.config_set("maxmemory-policy", "noeviction")
    engine.config_set("appendonly", "no")
    shutil.rmtree(tmp_path / "engine" / "engine")  # nowhere to save to
    engine.bgsave()
    eventually(lambda: engine.info("persistence")["rdb_last_bgsave_status"] == "err")
    engine.config_set("maxmemory", "1mb")
    engine.replicaof("127.0.0.1", free)
    said = asked()
    assert said.result("eviction") == "ok"
    for check in ("durability", "persistence", "memory", "replication"):
        assert said.result(check) == "problem", said.words(check)
    assert "appendonly yes" in said.words("durability")
    assert "saving the dump" in said.words("persistence")
    assert "primary" in said.words("replication")

    engine.config_set("requirepass", PASSWORD)
    said = asked(url.replace("unix://", f"unix://:{PASSWORD}@"))
    assert said.result("memory") == "problem"  # it got in
    assert PASSWORD not in said.text
    wrong = asked(url.replace("unix://", "unix://:not-the-password@"))
    assert "store" in wrong.problems()
    assert "not-the-password" not in wrong.text


def certificate(folder: Path, days: float) -> list[str]:
    """A certificate and its key, which expires in so many days; the options for them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=400))
        .not_valid_after(now + dt.timedelta(days=days)).sign(key, hashes.SHA256())
    )  # fmt: skip
    kind = serialization.PrivateFormat.PKCS8
    text = key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
    for path, data in (
        (folder / "cert.pem", made.public_bytes(serialization.Encoding.PEM)),
        (folder / "key.pem", text),
    ):
        path.write_bytes(data)
        path.chmod(0o600)
    return ["--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")]


def test_a_server_that_was_stopped_and_files_that_are_wrong(tmp_path: Path, free: int) -> None:
    data = ["--data-dir", str(tmp_path / "none")]
    ports = {"LEVER_GRPC_PORT": str(free), "LEVER_HTTP_PORT": "0", "NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    secret = new_secret()
    keys = write_keys(tmp_path / "keys.yaml", Key.of(secret, "site", frozenset({"read"})))

    keys.chmod(0o644)
    said = doctor(*data, "--keys-file", str(keys), *certificate(tmp_path, -1), **ports, LEVER_KEY=secret)
    assert said.status == 1
    assert said.problems() == {"gRPC", "metrics", "store", "ports", "TLS"}  # the port is held by the fixture
    assert f"127.0.0.1:{free}" in said.words("ports")
    assert "expired on" in said.words("TLS")
    assert said.result("API keys") == "warning"
    assert f"chmod 600 {keys}" in said.words("API keys")
    assert said.result("kernel cache") == "warning"
    assert not (tmp_path / "none").exists()

    keys.chmod(0o666)
    (tmp_path / "key.pem").chmod(0o640)
    said = doctor(*data, "--keys-file", str(keys), *certificate(tmp_path, 3), **ports)
    assert said.result("API keys") == "problem"
    assert said.result("TLS") == "warning"

    keys.chmod(0o600)
    options = certificate(tmp_path, 90)
    (tmp_path / "key.pem").chmod(0o640)
    said = doctor(*data, "--keys-file", str(keys), *options, **ports)
    assert (said.result("API keys"), said.result("TLS"), said.result("secrets")) == ("ok", "ok", "problem")

    keys.write_text(f"keys:\n  - {{name: site, hash: {secret}, scopes: [read]}}\n")
    said = doctor(*data, "--keys-file", str(keys), **ports)
    assert said.problems() == {"settings"}
    assert "lever key new" in said.words("settings")
    assert secret not in said.text

    said = doctor(*data, **ports, LEVER_GRPC_HOST="0.0.0.0", LEVER_INSECURE="true")  # noqa: S104  # what is wrong here
    assert "API keys" in said.problems()
    assert "gRPC 0.0.0.0" in said.words("API keys")
    assert said.result("TLS") == "warning"
