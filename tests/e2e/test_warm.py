"""A server compiles before it says that it is ready, and nothing afterwards."""

from __future__ import annotations

import importlib
import multiprocessing
import pkgutil

import bandits
from bandits.warmup import CHOOSING
from service.serving.personalizer import Mode
from service.serving.token import from_text
from service.store.embedded import Embedded
from tests.rig.stage import choose, reward, stage

ALGORITHMS = ("auto", "beta", "nig", "linucb", "lints", "greedy", "squarecb", "uniform")
CONFIG = """
experiment: {name}
arms: [{{id: a}}, {{id: b}}, {{id: c}}]
default_arm: a
algorithm: {name}
features: {{country: {{type: category, values: [de, fr]}}, visits: {{type: number, min: 0, max: 50}}}}
metrics: [{{id: sale, window: 1h}}]
"""


def _compiled() -> set[str]:
    """Every compilation of every kernel, by name and types."""
    found = set()
    for module in pkgutil.iter_modules(bandits.__path__):
        for name, kernel in vars(importlib.import_module(f"bandits.{module.name}")).items():
            if not isinstance(kernel, type):  # the class of kernels is one of the names
                found |= {f"{module.name}.{name}{types}" for types in getattr(kernel, "signatures", ())}
    return found


def _serve(url: str) -> tuple[set[str], set[str]]:
    """By a process that serves all there is: what was compiled after the warm-up, and the modules warmed for choices."""
    from bandits.warmup import waits, warm, warm_choices

    asked = set()
    waits.append(lambda module, _: asked.add(module))
    warm_choices()
    waits.clear()
    warm()
    before = _compiled()
    with stage(url) as world:
        server = world.service()
        for name in ALGORITHMS:
            server.experiments.put(CONFIG.format(name=name), 0)
            for i in range(40):
                made = choose(server, name, f"s{i}", context={"country": ["de", "fr"][i % 2], "visits": i})
                if i % 3 == 0:
                    reward(server, from_text(made.decision_id))
            server.use_cases.select_batch(name, ["x", "y"], {}, (), False, Mode.NORMAL)
        world.settle()
        for name in ALGORITHMS:
            server.experiments.report(name)
    return _compiled() - before, asked


def test_nothing_is_compiled_after_the_warm_up(valkey: Embedded) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        compiled, chose = pool.apply(_serve, (valkey.url,))
    assert not compiled
    assert chose == set(CHOOSING)  # what a first start compiles before it serves
