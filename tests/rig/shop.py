"""A shop whose visitors and rewards are known."""

from __future__ import annotations

from service.analysis.report import Report, report
from service.server.assemble import Service
from tests.rig.stage import choose, reward

CONFIG = """
experiment: shop
arms: [{id: old}, {id: new}]
default_arm: old
algorithm: {name: fixed, weights: {new: 1}}
holdout: {share: SHARE}
features: {paid: {type: flag}}
segments: [{id: paid, when: {paid: true}}]
metrics:
  - {id: order, primary: true, window: 1h}
  - {id: revenue, unit: 0.01, min: 0, max: 1000, window: 1h}
"""


def config(share: float) -> str:
    """Its experiment, with a holdout of this share."""
    return CONFIG.replace("SHARE", str(share))


def visit(service: Service, first: int, n: int) -> None:
    """Visitors of whom every second orders for 20.50 where the new arm is shown, every fourth for 10.25 else."""
    for i in range(first, first + n):
        made = choose(service, "shop", f"s{i}", context={"paid": i % 3 == 0})
        if i % (2 if made.arm == "new" else 4) == 0:
            reward(service, made, metric="order", value=1.0)
            reward(service, made, metric="revenue", value=20.5 if made.arm == "new" else 10.25)
    service.feed.flushed(60.0)
    service.feed.refresh(60.0)


def told(service: Service) -> Report:
    """The report now."""
    return service.feed.inspect("shop", report)
