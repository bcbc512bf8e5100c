"""TLS and mTLS with certificates made here; replaced while the server runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from service.errors import InvalidError
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.process.settings import settings
from service.rpc.server import Server
from service.security.certificates import Files, credentials
from service.telemetry.metrics import Metrics
from tests.rig.credentials import Pair, certificate, write_certificate
from tests.rig.lever import LOCAL
from tests.rig.standin import Standin, StandinExperiments

REQUEST = pb.SelectRequest(experiment="hero", subject="ann")


@contextmanager
def secured(files: Files) -> Iterator[int]:
    server = Server(Standin(), StandinExperiments(), Metrics())
    port = server.bind("127.0.0.1:0", credentials(files))
    server.start()
    server.set_ready(ready=True)
    try:
        yield port
    finally:
        server.stop(5)


def select(port: int, trusted: Pair, own: Pair | None = None) -> str:
    """Over a connection of its own."""
    given = grpc.ssl_channel_credentials(trusted.cert, own.key if own else None, own.cert if own else None)
    options = [*LOCAL, ("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(f"127.0.0.1:{port}", given, options=options) as channel:
        return PersonalizationServiceStub(channel).Select(REQUEST, timeout=20).arm


def refused(port: int, trusted: Pair, own: Pair | None = None) -> bool:
    with pytest.raises(grpc.RpcError) as caught:
        select(port, trusted, own)
    return caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_tls_serves_who_trusts_it_and_nobody_in_plaintext(tmp_path: Path) -> None:
    pair = certificate("server")
    with secured(write_certificate(tmp_path, pair)) as port:
        assert select(port, pair) == "calm"
        assert refused(port, certificate("another"))
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=LOCAL) as channel, pytest.raises(grpc.RpcError):
            PersonalizationServiceStub(channel).Select(REQUEST, timeout=20)


def test_mtls_asks_clients_for_a_certificate(tmp_path: Path) -> None:
    pair, client, stranger = certificate("server"), certificate("client"), certificate("stranger")
    with secured(write_certificate(tmp_path, pair, client)) as port:
        assert select(port, pair, client) == "calm"
        assert refused(port, pair)
        assert refused(port, pair, stranger)
        write_certificate(tmp_path, pair, stranger)
        assert select(port, pair, stranger) == "calm"
        assert refused(port, pair, client)


def test_a_replaced_certificate_is_taken_and_half_of_one_is_not(tmp_path: Path) -> None:
    old, new = certificate("old"), certificate("new")
    files = write_certificate(tmp_path, old)
    with secured(files) as port:
        assert select(port, old) == "calm"
        files.cert.write_bytes(new.cert)
        assert select(port, old) == "calm"  # the key is not there yet
        files.key.unlink()
        assert select(port, old) == "calm"
        files.key.write_bytes(new.key)
        assert select(port, new) == "calm"
        assert refused(port, old)


def test_files_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    pair, other = certificate("one"), certificate("other")
    files = write_certificate(tmp_path, pair, other)
    assert files.client_ca
    for path, content, field in (
        (files.cert, b"no", "tls_cert"), (files.key, b"no", "tls_key"), (files.key, other.key, "tls_key"),
        (files.client_ca, b"no", "tls_client_ca"),
    ):  # fmt: skip
        write_certificate(tmp_path, pair, other)
        path.write_bytes(content)
        with pytest.raises(InvalidError) as caught:
            credentials(files)
        assert [violation.field for violation in caught.value.violations] == [field]


def test_off_loopback_takes_tls_or_an_explicit_wish(tmp_path: Path) -> None:
    files = write_certificate(tmp_path, certificate("server"))
    tls = {"tls_cert": files.cert, "tls_key": files.key}
    assert settings({"grpc_host": "0.0.0.0", **tls}, {}).tls_cert == files.cert  # noqa: S104
    assert settings({"grpc_host": "0.0.0.0", "insecure": True}, {}).insecure  # noqa: S104
    for given in ({"grpc_host": "0.0.0.0"}, {"http_host": "0.0.0.0", **tls}, {"tls_cert": files.cert},  # noqa: S104
                  {"tls_client_ca": files.cert}, {"tls_cert": files.cert, "tls_key": tmp_path / "none"}):  # fmt: skip
        with pytest.raises(InvalidError):
            settings(given, {})
