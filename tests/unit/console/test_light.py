"""The operators' port stays small: it computes nothing itself."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import service.server.operator_worker as port
from service.http.protocol import protocol
port.Console("", port.Exposition(), None)
protocol(fast=False)
print(*(name for name in ("bandits", "grpc", "numba", "redis") if name in sys.modules))
"""


def test_it_loads_no_kernels_and_grpc_only_once_somebody_looks() -> None:
    made = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert made.stdout.strip() == ""
