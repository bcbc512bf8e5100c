"""`lever serve` with API keys and mTLS: it applies its own experiments, and takes over a new file of keys."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import grpc
import pytest

from service.pb.lever.v1 import experiment_pb2 as xpb
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.security.api_keys import Key, new_secret
from tests.rpc.standin import LOCAL
from tests.rpc.test_access import bearer, write
from tests.rpc.test_tls import make, put
from tests.rpc.test_tree import EXPERIMENT, Tree, eventually


def test_a_tree_behind_keys_and_certificates(tmp_path: Path) -> None:
    server, client = make("server"), make("client")
    files = put(tmp_path, server, client)
    old, new = new_secret(), new_secret()
    keys = write(tmp_path / "keys.yaml", Key.of(old, "old", frozenset({"read"})))
    (tmp_path / "hero.yaml").write_text(EXPERIMENT)
    tree = Tree(
        tmp_path, "--experiments", str(tmp_path / "hero.yaml"), "--keys-file", str(keys), "--tls-cert", str(files.cert),
        "--tls-key", str(files.key), "--tls-client-ca", str(files.client_ca),
    )  # fmt: skip
    try:
        tree.await_ready()
        given = grpc.ssl_channel_credentials(server.cert, client.key, client.cert)
        with grpc.secure_channel(tree.grpc, given, options=LOCAL) as channel:
            stub = ExperimentServiceStub(channel)

            def named(key: str) -> list[str]:
                answer = stub.ListExperiments(xpb.ListExperimentsRequest(), metadata=bearer(key), timeout=20)
                return [one.name for one in answer.experiments]

            assert named(old) == ["hero"]
            with pytest.raises(grpc.RpcError) as caught:
                stub.PutExperiment(xpb.PutExperimentRequest(config=EXPERIMENT), metadata=bearer(old), timeout=20)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            assert tree.page("/metrics")[0] == 401
            assert tree.page("/readyz")[0] == 200
            write(keys, Key.of(new, "new", frozenset({"read"})))

            def known(key: str) -> bool:
                try:
                    return named(key) == ["hero"]
                except grpc.RpcError as error:
                    assert error.code() is grpc.StatusCode.UNAUTHENTICATED  # noqa: PT017
                    return False

            eventually(lambda: known(new))
            assert not known(old)
        request = urllib.request.Request(tree.http + "/metrics", headers={"authorization": f"Bearer {new}"})  # noqa: S310
        with tree.opener.open(request, timeout=20) as page:
            assert page.status == 200
        assert tree.stop() == 0
    finally:
        tree.close()
