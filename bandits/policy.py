"""The table of policies: how each turns a slot's sums into a posterior, and what can be set about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bandits import belief
from bandits.auto import Side, auto
from bandits.draw import draw
from bandits.expansion import expanded
from bandits.greedy import greedy
from bandits.layout import X_SCALE
from bandits.pmf import decide, decide_rows, fill
from bandits.posterior import Floats, Posterior, Sums, charged
from bandits.prior import Priors
from bandits.revenue import revenue
from bandits.squarecb import squarecb

__all__ = ["POLICIES", "Policy", "Setting", "decide", "decide_batch", "draw", "probabilities"]


class Derive(Protocol):
    """From sums to a posterior; see Policy."""

    def __call__(
        self, sums: Sums, settings: Mapping[str, float], arms: NDArray[np.int64], priors: Priors | None = None
    ) -> Posterior: ...


Informed = Callable[[Sums, Mapping[str, float], NDArray[np.int64], Side], Posterior]


@dataclass(frozen=True)
class Setting:
    """One number a policy takes; `default` nan means: learned from the data."""

    default: float
    low: float
    high: float
    help: str
    words: tuple[str, ...] = ()  # what people write for 0, 1, ...; empty: the number itself


@dataclass(frozen=True)
class Policy:
    """A way to choose. Its functions take complete settings; ranges are for the caller to check."""

    name: str
    contextual: bool
    settings: Mapping[str, Setting]
    believe: Derive
    informed: Informed | None = None  # takes sums over learning columns and what else the slot knows
    retired: Mapping[str, str] = field(default_factory=dict)  # settings that no longer exist, and what replaces them

    def complete(self, settings: Mapping[str, float]) -> dict[str, float]:
        """The settings, and the defaults of those that are missing."""
        return {name: setting.default for name, setting in self.settings.items()} | dict(settings)

    def derive(
        self,
        sums: Sums,
        settings: Mapping[str, float],
        arms: NDArray[np.int64],
        priors: Priors | None = None,
        costs: Floats | None = None,
    ) -> Posterior:
        """What is believed about every arm number in `arms`; settings that are missing have their defaults.

        Pooled quantities are over all arms of the sums, also those not in `arms`; an arm not in `arms` keeps its prior.
        `priors` of single arms move these alone. `costs` (f8[K], in units of the sums) are what showing an arm costs.
        """
        return charged(self.believe(sums, self.complete(settings), arms, priors), costs)


def probabilities(post: Posterior, x: NDArray[np.float64], arms: NDArray[np.int64]) -> NDArray[np.float64]:
    """The floored pmf, f8[n], sum 1, over `arms` (i8[n], eligible arm numbers, ascending, n >= 1).

    x is f8[<= F], main columns in units of 1 (padded with zeros); context-free policies do not read it. The same
    kernel as decide(), so the same bits for x a multiple of 2^-12; with products x is rounded to such multiples.
    """
    if post.design is not None:
        cells = np.rint(x * X_SCALE).astype(np.int16)[None, :]
        x = expanded(cells, post.design)[0] / X_SCALE
    out = np.empty(arms.size)
    fill(post.packed, x, arms, out)
    return out


def decide_batch(
    post: Posterior,
    rows: NDArray[np.int16],
    arms: NDArray[np.int64],
    units: NDArray[np.uint64],
    salt: int,
    chosen: NDArray[np.int64],
    propensity: NDArray[np.float64],
) -> None:
    """decide() for N subjects in one call without the interpreter lock; a context-free pmf is computed once.

    rows is i2[N,<= d], units u8[N]; fills chosen (i8[N], POSITIONS in `arms`) and propensity (f8[N]).
    """
    decide_rows(post.packed, rows, arms, units, salt, chosen, propensity)


def _auto(
    sums: Sums, settings: Mapping[str, float], arms: NDArray[np.int64], priors: Priors | None = None
) -> Posterior:
    return auto(sums, settings, arms, Side(priors=priors))


def _table() -> Mapping[str, Policy]:
    floor = Setting(0.01, 0.0, 0.5, "Share of the traffic that is spread evenly over all arms.")
    no_floor = Setting(0.0, 0.0, 0.5, floor.help)
    nan = float("nan")
    shape = Setting(2.0, 2.0, 1e6, "Prior trust in the prior variance: 2 or more, so that tails are finite.")
    variance = Setting(nan, 1e-8, 1e6, "Prior scale of the variance; unset: that of all arms together.")
    ridge = Setting(1.0, 1e-3, 1e6, "Prior precision of every coefficient (ridge).")
    pooled = Setting(1.0, 0.0, 1.0, "1: arms start from the mean reward of all arms; 0: from zero.")
    nig = {
        "m0": Setting(nan, -1.0, 1.0, "Prior mean reward; unset: that of all arms together."),
        "kappa0": Setting(1.0, 1e-3, 1e6, "Trials that the prior mean is worth."),
        "a0": shape,
        "b0": variance,
        "floor": floor,
    }
    policies = (
        Policy(
            "auto",
            contextual=True,
            settings={
                "evidence": Setting(
                    1.0, 0.0, 2.0, "How much is shown for the sake of knowing.", ("less", "usual", "more")
                ),
                "floor": no_floor,
            },
            believe=_auto,
            informed=auto,
            retired={
                "detector": "what of the past counts is judged anew at each look, and nothing has to be undone; see half_life",
                "alpha": "evidence: more or less says how much is shown for the sake of knowing",
                "width_lambda": "the width has the prior of the mean; evidence: more or less says how much is shown",
            },
        ),
        Policy(
            "beta",
            contextual=False,
            settings={
                "prior_a": Setting(1.0, 0.01, 1e6, "Prior rewarded trials of each arm."),
                "prior_b": Setting(1.0, 0.01, 1e6, "Prior unrewarded trials of each arm."),
                "floor": floor,
            },
            believe=belief.beta,
        ),
        Policy(
            "nig",
            contextual=False,
            settings=nig,
            believe=belief.nig,
        ),
        Policy(
            "linucb",
            contextual=True,
            settings={
                "alpha": Setting(1.0, 0.0, 100.0, "How much uncertainty is worth."),
                "lambda": ridge,
                "noise": Setting(nan, 1e-6, 1e3, "Standard deviation of a reward; unset: learned from all arms."),
                "randomised": Setting(1.0, 0.0, 1.0, "1: the width is drawn; 0: the textbook index."),
                "pooled": pooled,
                "floor": floor,
            },
            believe=belief.linucb,
        ),
        Policy(
            "lints",
            contextual=True,
            settings={"lambda": ridge, "a0": shape, "b0": variance, "pooled": pooled, "floor": floor},
            believe=belief.lints,
        ),
        Policy(
            "greedy",
            contextual=True,
            settings={  # epsilon as in Vowpal Wabbit
                "epsilon": Setting(0.05, 0.0, 1.0, "Share of the traffic that explores, all arms alike."),
                "lambda": ridge,
                "pooled": pooled,
                "floor": no_floor,
            },
            believe=greedy,
        ),
        Policy(
            "squarecb",
            contextual=True,
            settings={  # gamma as in Vowpal Wabbit
                "gamma_scale": Setting(10.0, 1e-3, 1e6, "How fast exploration ends: gamma = scale n^exponent."),
                "gamma_exponent": Setting(0.5, 0.0, 1.0, "See gamma_scale."),
                "lambda": ridge,
                "pooled": pooled,
                "floor": no_floor,
            },
            believe=squarecb,
        ),
        Policy(
            "revenue",
            contextual=False,
            settings={
                "prior_a": Setting(1.0, 0.01, 1e6, "Prior rewarded trials of each arm."),
                "prior_b": Setting(1.0, 0.01, 1e6, "Prior unrewarded trials of each arm."),
                "kappa0": Setting(1.0, 1e-3, 1e6, "Orders that the prior mean value is worth."),
                "a0": shape,
                "floor": floor,
            },
            believe=revenue,
        ),
        Policy("uniform", contextual=False, settings={"floor": no_floor}, believe=belief.uniform),
        Policy("fixed", contextual=False, settings={"floor": no_floor}, believe=belief.fixed),
    )
    return MappingProxyType({policy.name: policy for policy in policies})


POLICIES: Mapping[str, Policy] = _table()
