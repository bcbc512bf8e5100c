"""Stores as others run them: a cluster, and managed ones with what they allow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import redis

from loadtest.engines.cluster import Cluster
from loadtest.rig.server import free_ports
from service.pb.lever.v1 import personalization_pb2 as pb
from tests.rig.credentials import certificate
from tests.rig.lever import HERO, LOCAL, Lever
from tests.rig.programs import ROOT, program
from tests.rig.stage import Stage, choose, reward
from tests.rig.waiting import eventually

PASSWORD = "open-sesame"
# What deploy/README.md gives a user of Lever's own.
ALLOWED = ("~lever:*", "&*", "+@all", "-@dangerous", "+info", "+config|get", "+cluster|slots")


@contextmanager
def engine(folder: Path, *options: str) -> Iterator[Any]:
    """A redis-server of the test's own, on a socket, and whatever `options` say."""
    socket = folder / "engine.sock"
    command = [
        program("redis-server"),
        "--port",
        "0",
        "--dir",
        str(folder),
        "--unixsocket",
        str(socket),
        "--appendonly",
        "yes",
    ]
    with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL) as process:
        try:
            with redis.Redis(unix_socket_path=str(socket), protocol=2) as client:
                eventually(lambda: socket.exists() and client.ping())
                yield client
        finally:
            process.terminate()


def lever(*options: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LEVER_")}
    command = [sys.executable, "-m", "service", *options]
    return subprocess.run(command, cwd=ROOT, env=clean | env, capture_output=True, text=True, timeout=100, check=False)


def said(*options: str) -> dict[str, dict[str, str]]:
    """What doctor says, by check."""
    return {one["check"]: one for one in json.loads(lever("doctor", "--json", *options).stdout)}


def test_a_cluster_behind_a_socket_is_refused_with_the_way_to_give_it(tmp_path: Path) -> None:
    with engine(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_ports(1)[0])) as client:
        url = f"unix://{tmp_path}/engine.sock"
        ports = ["--grpc-port", str(free_ports(1)[0]), "--http-port", str(free_ports(1)[0])]
        done = lever("serve", "--redis-url", url, "--data-dir", str(tmp_path / "data"), *ports)
        assert done.returncode == 1
        assert "a Redis Cluster is reached by redis://HOST:PORT, not by a socket" in done.stderr
        store = said("--redis-url", url, "--data-dir", str(tmp_path / "data"))["store"]
        assert (store["result"], "Redis Cluster" in store["said"]) == ("problem", True)
        assert client.dbsize() == 0  # nothing was begun there


def test_a_cluster(tmp_path: Path, clustered: Cluster) -> None:
    """Noticed by itself at any of its nodes; and several addresses that are none."""
    found = counts(tmp_path, f"redis://127.0.0.1:{clustered.members[2].port}")
    assert not [check for check, one in found.items() if one["result"] == "problem"]
    assert found["store"]["said"].startswith("a cluster of 3 primaries")
    assert found["replication"]["said"].startswith("127.0.0.1:")
    (tmp_path / "one").mkdir()
    (port,) = free_ports(1)
    with engine(tmp_path / "one", "--port", str(port)):
        single = f"redis://127.0.0.1:{port},127.0.0.1:{port}"
        refused = said("--redis-url", single, "--data-dir", str(tmp_path))["store"]
        assert (refused["result"], "is no Redis Cluster" in refused["said"]) == ("problem", True)


def counts(folder: Path, url: str) -> dict[str, dict[str, str]]:
    """A server on this store chooses and is rewarded; what doctor says meanwhile."""
    (folder / "hero.yaml").write_text(HERO)
    with Lever(folder, "--experiments", str(folder / "hero.yaml"), "--redis-url", url) as made:
        with grpc.insecure_channel(made.address, options=LOCAL) as channel:
            assert made.reward(channel, made.select(channel).decision_id) == pb.OUTCOME_APPLIED
        where = [
            "--server",
            made.address,
            "--http",
            f"http://{made.http}",
            "--data-dir",
            str(made.data),
            "--redis-url",
            url,
        ]
        eventually(lambda: "lever_snapshot_age_seconds" in made.page("/metrics")[1])
        return said(*where)


def test_a_user_of_levers_own(tmp_path: Path) -> None:
    """As deploy/README.md sets it up; and one that may not even ask INFO, of which nothing untrue is said."""
    with engine(tmp_path, "--appendfsync", "always") as client:
        client.execute_command("ACL", "SETUSER", "lever", "on", f">{PASSWORD}", *ALLOWED)
        url = f"unix://lever:{PASSWORD}@{tmp_path}/engine.sock"
        found = counts(tmp_path, url)
        assert {check: one["said"] for check, one in found.items() if one["result"] in ("warning", "problem")} == {}
        assert found["durability"]["said"].startswith("appendfsync always")

        client.execute_command("ACL", "SETUSER", "lever", "-info", "-config|get")
        found = counts(tmp_path, url)
        assert not [check for check, one in found.items() if one["result"] == "problem"]
        assert "forbids INFO to its user" in found["store"]["said"]
        assert "ACL SETUSER NAME +info" in found["store"]["todo"]
        assert {found[check]["result"] for check in ("persistence", "memory", "replication")} == {"skipped"}
        assert {found[check]["result"] for check in ("store", "eviction", "durability")} == {"warning"}
        assert "not known" in found["durability"]["said"]
        assert found["experiments"]["result"] == "ok"


def test_a_store_behind_tls(tmp_path: Path) -> None:
    """As managed stores are reached: rediss, a user, and the authority of their certificate."""
    pair = certificate("store")
    (tmp_path / "cert.pem").write_bytes(pair.cert)
    (tmp_path / "key.pem").write_bytes(pair.key)
    (port,) = free_ports(1)
    tls = [
        "--tls-port",
        str(port),
        "--tls-cert-file",
        "cert.pem",
        "--tls-key-file",
        "key.pem",
        "--tls-auth-clients",
        "no",
    ]
    with engine(tmp_path, *tls) as client:
        client.execute_command("ACL", "SETUSER", "lever", "on", f">{PASSWORD}", *ALLOWED)
        url = f"rediss://lever:{PASSWORD}@127.0.0.1:{port}/0"
        found = counts(tmp_path, f"{url}?ssl_ca_certs={tmp_path}/cert.pem")
        assert found["store"]["result"] == "ok"
        refused = said("--redis-url", url, "--data-dir", str(tmp_path))["store"]
        assert refused["result"] == "problem"
        assert "certificate" in refused["said"].lower()
        assert PASSWORD not in json.dumps(found) + json.dumps(refused)


def test_all_experiments_go_into_one_file_and_out_of_it(tmp_path: Path) -> None:
    """One that is there already, or is damaged, is named and stops no other."""
    file, names = tmp_path / "all.archive", ["hero", "other", "third"]
    (tmp_path / "new").mkdir()
    with engine(tmp_path) as client, engine(tmp_path / "new"):
        url, fresh = (f"unix://{folder}/engine.sock" for folder in (tmp_path, tmp_path / "new"))
        world = Stage(url, prefix="lever")
        service = world.service()
        uids = {name: service.experiments.put(HERO.replace("hero", name), 0)[0].uid for name in names}
        reward(service, choose(service, "other", "ann"))
        world.settle()
        world.stop()
        done = lever("export", "--all", "--out", str(file), "--redis-url", url)
        assert (done.returncode, [line.split()[0] for line in done.stdout.splitlines()[:3]]) == (0, names), done.stderr
        assert lever("import", str(file), "--redis-url", fresh).returncode == 0
        again = lever("import", str(file), "--redis-url", fresh)
        assert (again.returncode, again.stderr.count("is in the store already")) == (1, 3)
        client.xadd(f"lever:{{{uids['hero']}}}:log", {"nonsense": "1"})
        part = lever("export", "--all", "--out", str(file), "--redis-url", url)
        assert (part.returncode, [line.split()[0] for line in part.stdout.splitlines()[:2]]) == (1, names[1:])
        assert part.stderr.startswith("error: hero: ")
        for wrong in (["export"], ["export", "hero", "--all"]):
            assert lever(*wrong, "--out", str(file), "--redis-url", url).returncode == 2


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """/proc takes no folders, whoever asks."""
    ports = ["--grpc-port", str(free_ports(1)[0]), "--http-port", str(free_ports(1)[0])]
    nowhere = f"unix://{tmp_path}/nobody.sock"
    command = [
        sys.executable,
        "-m",
        "service",
        "serve",
        "--data-dir",
        str(tmp_path / "data"),
        "--redis-url",
        nowhere,
        *ports,
    ]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "LEVER_CACHE": "/proc/none", "NUMBA_CACHE_DIR": ""}, stderr=log
        )
        try:
            eventually(lambda: "set LEVER_CACHE to a folder that can be written" in (tmp_path / "log").read_text())
        finally:
            process.terminate()
            process.wait(30)


def test_doctor_tells_a_server_that_starts_from_none(tmp_path: Path) -> None:
    """With no kernel compiled yet: it runs, does not listen, and has not asked for its store."""
    env = {**os.environ, "LEVER_CACHE": str(tmp_path / "cache"), "NUMBA_CACHE_DIR": ""}
    grpc_port, http_port = free_ports(2)
    ports = ["--grpc-port", str(grpc_port), "--http-port", str(http_port), "--data-dir", str(tmp_path / "data")]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "service", "serve", *ports], cwd=ROOT, env=env, stderr=log)
        try:
            where = ["--server", f"127.0.0.1:{grpc_port}", "--http", f"http://127.0.0.1:{http_port}", *ports[4:]]
            eventually(lambda: "Lever runs but does not listen" in said(*where)["gRPC"]["said"])
            found = said(*where)
            assert (found["gRPC"]["result"], found["gRPC"]["todo"]) == ("problem", "wait, and ask again")
            assert found["way to the store"]["result"] == "skipped"
            eventually(lambda: "compil" in said(*where)["workers"]["todo"])
        finally:
            process.terminate()
            process.wait(60)


def test_the_guide_gives_this_user() -> None:
    assert f"ACL SETUSER lever on >PASSWORD {' '.join(ALLOWED)}" in (ROOT / "deploy/README.md").read_text()
