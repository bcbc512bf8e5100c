"""OpenFeature's own JavaScript SDKs and providers (Node and web) against a running Lever, and Lever's providers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig.clients import node as nodes
from tests.rig.site import Keyed

CLIENT_VISIBLE = {"decisionId", "propensity", "segment", "holdout", "version", "windowMs"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nodes.workspace(tmp_path_factory.mktemp("node"))


@pytest.mark.timeout(400)
def test_the_stock_providers(keyed: Keyed, folder: Path) -> None:
    given = {"url": keyed.site.url, "key": keyed.secret, "publicKey": keyed.public}
    told = nodes.run(folder, "stock.mjs", given)
    node, web = told["node"], told["web"]

    hero = node["hero"]
    assert hero["value"] == {"title": hero["variant"].capitalize()}
    assert (hero["reason"], set(hero["flagMetadata"])) == ("SPLIT", CLIENT_VISIBLE)
    assert (node["paused"]["value"], node["paused"]["variant"], node["paused"]["reason"]) == ("text", "x", "DISABLED")
    assert node["price"]["value"] in (9, 12)
    assert (node["nobody"]["value"], node["nobody"]["errorCode"]) == ("mine", "FLAG_NOT_FOUND")
    assert node["missing"]["errorCode"] == "TARGETING_KEY_MISSING"
    assert node["wrong"]["errorCode"] == "INVALID_CONTEXT"
    assert node["unauthorized"]["value"] == "mine"

    assert web["hero"]["value"] == {"title": web["hero"]["variant"].capitalize()}
    assert (web["hero"]["reason"], set(web["hero"]["flagMetadata"])) == ("SPLIT", CLIENT_VISIBLE | {"deferred"})
    assert (web["sketch"]["value"], web["sketch"]["reason"]) == ("mine", "DISABLED")
    assert (web["price"]["value"], web["price"]["errorCode"]) == (1, "FLAG_NOT_FOUND")  # it is not for clients
    assert web["statuses"] == [200, 304, 304]
    assert web["again"]["flagMetadata"] == web["hero"]["flagMetadata"]
    assert web["changed"]["flagMetadata"]["decisionId"] != web["hero"]["flagMetadata"]["decisionId"]


@pytest.mark.timeout(400)
def test_levers_providers(keyed: Keyed, folder: Path) -> None:
    given = {"url": keyed.site.url, "key": keyed.secret, "publicKey": keyed.public}
    told = nodes.run(folder, "lever.mjs", given)
    assert keyed.site.event(told["byId"], metric="click") == {"outcome": "DUPLICATE"}
    assert keyed.site.event(told["shown"], metric="click") == {"outcome": "APPLIED"}  # only revenue was tracked
    assert told["queued"] == 2
    assert keyed.site.event(told["seen"], type="exposure") == {"outcome": "DUPLICATE"}
    assert keyed.site.event(told["seen"], metric="click") == {"outcome": "DUPLICATE"}


@pytest.mark.timeout(400)
def test_what_is_refused_for_load_is_asked_again_within_a_budget(keyed: Keyed, folder: Path) -> None:
    told = nodes.run(folder, "retry.mjs", {"url": keyed.site.url, "key": keyed.secret})
    again, once = {"asked": 2, "shown": True}, {"asked": 1, "shown": False}
    assert told["once"] == {"0": again, "429": again, "503": again, "500": once}
    assert told["thrice"] == {"asked": 3, "shown": False}
    assert told["worn"] == [3, 2, 1, 1, 1, 1, 1, 1, 1, 1], "five failures, and half of the budget is left"
    assert told["rested"] == again, "answers give it back"
    assert told["between"] >= 9, "not at once"
    assert told["jitter"] == 9
