"""One server in this process on a real store, a stage for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.store.embedded import Embedded
from tests.rig.stage import Stage, stage


@pytest.fixture(scope="module")
def world(valkey: Embedded) -> Iterator[Stage]:
    with stage(valkey.url) as built:
        built.service()
        yield built
