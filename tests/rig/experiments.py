"""Experiments of these tests."""

HERO = """\
experiment: hero
client: true
arms:
  - {id: calm, payload: {title: Calm}}
  - {id: loud, payload: {title: Loud}}
default_arm: calm
algorithm: beta
features:
  plan: {type: category, values: [free, paid]}
  visits: {type: number, min: 0, max: 10}
metrics:
  - {id: click, primary: true, client: true, window: 1h}
  - {id: revenue, unit: 0.01, min: 0, max: 1000, aggregate: sum, window: 1h}
"""
STICKY = """\
experiment: sticky
client: true
arms: [{id: a}, {id: b}]
default_arm: a
algorithm: beta
metrics: [{id: click, client: true, window: 1h}]
sticky: 1d
"""
SERVER_ONLY = """\
experiment: price
arms: [{id: low, payload: 9}, {id: high, payload: 12}]
default_arm: low
algorithm: uniform
holdout: {share: 0.5}
metrics: [{id: sale, window: 1h}]
segments:
  - {id: staff, when: {staff: true}, serve: default}
features:
  staff: {type: flag}
"""
EVEN = """\
experiment: even
arms: [{id: a}, {id: b}, {id: c}]
default_arm: a
algorithm: uniform
metrics: [{id: click, window: 1h}]
sticky: 1d
"""
PAUSED = """\
experiment: paused
client: true
state: paused
arms: [{id: x, payload: text}, {id: y}]
default_arm: x
algorithm: beta
metrics: [{id: click, client: true}]
"""
DRAFT = PAUSED.replace("paused", "draft").replace("experiment: draft", "experiment: sketch")
ALL = {"hero": HERO, "sticky": STICKY, "price": SERVER_ONLY, "even": EVEN, "paused": PAUSED, "sketch": DRAFT}
SPENDING = """
experiment: {name}
arms: [{{id: a}}, {{id: b}}, {{id: c{state}}}]
default_arm: a
algorithm: {algorithm}
features:
  plan: {{type: category, values: [free, paid]}}
segments:
  - {{id: paid, when: {{plan: paid}}}}
metrics: [{{id: spend, unit: 0.01, min: 0, max: 50, window: 1h}}]
"""


def spending(name: str = "hero", algorithm: str = "auto", state: str = "") -> str:
    """Two plans, arms a, b and c (`state` is written behind the last), one metric that is money."""
    return SPENDING.format(name=name, algorithm=algorithm, state=state)
