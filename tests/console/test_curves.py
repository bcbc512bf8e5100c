"""The page's own mathematics, run by node: beliefs are drawn as the Beta distributions that they are."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import numpy as np
from scipy import stats

from tests.rig.programs import ROOT, program

STATIC = ROOT / "service/console/static"
BELIEFS = [(0.5, 30.5), (3.2, 200.0), (60.0, 40.0), (2500.0, 61000.0), (1.5, 1.5), (4.0, 4e5)]


def ran(script: str, given: object, module: str = "beta") -> Any:
    """What a module next to the page's own makes of its input."""
    text = f"import * as {module} from {json.dumps((STATIC / f'{module}.js').as_uri())}; const given = {json.dumps(given)}; {script}"
    command = [program("node"), "--input-type=module", "-e", text]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


def test_the_distribution_function_is_scipys() -> None:
    places = [(x, a, b) for a, b in BELIEFS for x in stats.beta.ppf([1e-3, 0.1, 0.5, 0.9, 0.999], a, b).tolist()]
    found = ran("console.log(JSON.stringify(given.map(([x, a, b]) => beta.below(x, a, b))))", places)
    np.testing.assert_allclose(found, [stats.beta.cdf(*place) for place in places], rtol=1e-6)


def test_the_density_is_scipys() -> None:
    places = [(x, a, b) for a, b in BELIEFS for x in stats.beta.ppf([0.01, 0.5, 0.99], a, b).tolist()]
    found = ran("console.log(JSON.stringify(given.map(([x, a, b]) => beta.logDensity(x, a, b))))", places)
    np.testing.assert_allclose(found, [stats.beta.logpdf(*place) for place in places], rtol=1e-6, atol=1e-6)


def test_a_belief_is_found_again_from_its_mean_and_interval() -> None:
    given = [(a / (a + b), *stats.beta.ppf([0.025, 0.975], a, b).tolist()) for a, b in BELIEFS]
    found = ran("console.log(JSON.stringify(given.map((one) => beta.fitted(...one))))", given)
    for (a, b), one in zip(BELIEFS, found, strict=True):
        np.testing.assert_allclose([one["a"], one["b"]], [a, b], rtol=1e-4)


def test_what_is_no_belief_has_no_curve() -> None:
    given = [(0.0, 0.0, 0.1), (1.0, 0.9, 1.0), (0.5, 0.5, 0.5)]
    assert ran("console.log(JSON.stringify(given.map((one) => beta.fitted(...one))))", given) == [None, None, None]


def test_the_range_of_a_value_is_that_of_its_parts_less_costs() -> None:
    metrics = [
        {"id": "click"}, {"id": "order", "max": 500}, {"id": "left", "min": -3, "max": 1},
        {"id": "value", "weights": {"order": 1, "click": 0.2, "left": -4}},
    ]  # fmt: skip
    free, costly = {"metrics": metrics}, {"metrics": metrics, "arms": [{"id": "a", "cost": 2}, {"id": "b"}]}
    given = [[free, "click"], [free, "value"], [costly, "value"], [{}, "gone"]]
    found = ran("console.log(JSON.stringify(given.map((one) => range.range(...one))))", given, "range")
    assert found == [[0, 1], [-4, 512.2], [-6, 512.2], [0, 1]]
