"""`lever serve` with API keys and mTLS: it applies its own experiments, and takes over a new file of keys."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from service.pb.lever.v1 import experiment_pb2 as xpb
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.security.api_keys import Key, new_secret
from tests.rig.credentials import bearer, certificate, write_certificate, write_keys
from tests.rig.lever import HERO, LOCAL, Lever
from tests.rig.waiting import eventually


def test_a_tree_behind_keys_and_certificates(tmp_path: Path) -> None:
    server, client = certificate("server"), certificate("client")
    files = write_certificate(tmp_path, server, client)
    old, new = new_secret(), new_secret()
    keys = write_keys(tmp_path / "keys.yaml", Key.of(old, "old", frozenset({"read"})))
    (tmp_path / "hero.yaml").write_text(HERO)
    options = ["--experiments", str(tmp_path / "hero.yaml"), "--keys-file", str(keys), "--tls-cert", str(files.cert)]
    options += ["--tls-key", str(files.key), "--tls-client-ca", str(files.client_ca)]
    with Lever(tmp_path, *options) as lever:
        given = grpc.ssl_channel_credentials(server.cert, client.key, client.cert)
        with grpc.secure_channel(lever.address, given, options=LOCAL) as channel:
            stub = ExperimentServiceStub(channel)

            def named(key: str) -> list[str]:
                answer = stub.ListExperiments(xpb.ListExperimentsRequest(), metadata=bearer(key), timeout=20)
                return [one.name for one in answer.experiments]

            assert named(old) == ["hero"]
            with pytest.raises(grpc.RpcError) as caught:
                stub.PutExperiment(xpb.PutExperimentRequest(config=HERO), metadata=bearer(old), timeout=20)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            assert lever.page("/metrics")[0] == 401
            assert lever.page("/readyz")[0] == 200
            write_keys(keys, Key.of(new, "new", frozenset({"read"})))

            def known(key: str) -> bool:
                try:
                    return named(key) == ["hero"]
                except grpc.RpcError as error:
                    assert error.code() is grpc.StatusCode.UNAUTHENTICATED  # noqa: PT017
                    return False

            eventually(lambda: known(new))
            assert not known(old)
        assert lever.page("/metrics", new)[0] == 200
        assert lever.page("/console/api/experiments/hero/report")[0] == 401
        assert lever.page("/console/api/experiments/hero/report", new)[0] == 200  # it asks past the certificates
        assert lever.stop() == 0
