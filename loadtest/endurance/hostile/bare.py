"""An empty gRPC server of the same library: the floor under attacks that reach nothing but grpc's core."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from service.pb.lever.v1 import personalization_pb2 as pb


@contextmanager
def bare() -> Iterator[str]:
    """Its address, for as long as the block. It answers Select with a decision, and does nothing else."""
    answer = pb.SelectResponse(arm="a", decision_id="d" * 120, propensity=0.5)
    with tempfile.NamedTemporaryFile(prefix="lever-bare-") as file:
        file.write(answer.SerializeToString())
        file.flush()
        command = [sys.executable, "-m", "loadtest.rig.echo", "sync", file.name]
        # In a session of its own, as Lever's processes are: Linux shares out the cores among sessions first (autogroup).
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        ) as server:
            try:
                assert server.stdout is not None
                yield f"127.0.0.1:{int(server.stdout.readline())}"
            finally:
                server.kill()
