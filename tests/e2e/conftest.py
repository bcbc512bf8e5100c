"""Services of these tests answer within their deadlines only with warm kernels, as a worker's do."""

from __future__ import annotations

import pytest

from bandits.warmup import warm


@pytest.fixture(scope="session", autouse=True)
def _warm_kernels() -> None:
    warm()
