"""Two Levers for all tests of the web port: one open to this machine, one with API keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.security.api_keys import Key, new_secret
from tests.rig.experiments import ALL
from tests.rig.site import PAGE, Keyed, Site, site


@pytest.fixture(scope="session")
def lever(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Without keys."""
    with site(tmp_path_factory.mktemp("open"), ALL) as made:
        yield made


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """With keys: everything, decide only, and two public ones for pages of PAGE."""
    folder = tmp_path_factory.mktemp("keyed")
    secret, decide, public, beacon = (new_secret() for _ in range(4))
    origins = frozenset({PAGE})
    lines = [
        Key.of(secret, "all", frozenset({"decide", "reward", "admin", "read"})).line(),
        Key.of(decide, "decide", frozenset({"decide"})).line(),
        Key.of(public, "page", frozenset({"decide", "reward"}), origins).line(),
        Key.of(beacon, "beacon", frozenset({"reward"}), origins).line(),
    ]
    keys = folder / "keys.yaml"
    keys.write_text("\n".join(["keys:", *lines, ""]))
    with site(folder, ALL, "--keys-file", str(keys), key=secret) as made:
        yield Keyed(made, secret, decide, public, beacon)
