"""What a context typed at a terminal has that the experiment does not declare: the server counts it and goes on."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from service.cli.connection import TIMEOUT_S

if TYPE_CHECKING:
    from service.cli.connection import Client
    from service.experiment.spec import FeatureSpec


def strange(client: Client, experiment: str, context: Mapping[str, float | str | bool]) -> list[str]:
    """A sentence for each feature or value that plays no part; none where the key may not read the experiment."""
    import grpc

    from service.errors import InvalidError
    from service.experiment.parse import parse
    from service.pb.lever.v1.experiment_pb2 import GetExperimentRequest

    if not context:
        return []
    try:
        found = client.experiments.GetExperiment(GetExperimentRequest(name=experiment), timeout=TIMEOUT_S)
        features = parse(found.experiment.config).features
    except (grpc.RpcError, InvalidError):
        return []
    return [f"{name}: {why}" for name, value in context.items() for why in _of(features, name, value)]


def _of(features: Mapping[str, FeatureSpec], name: str, value: float | str | bool) -> Iterator[str]:
    feature = features.get(name)
    if feature is None:
        yield f"the experiment declares no such feature and ignores it{_near(name, features)}"
    elif feature.type == "category" and isinstance(value, str) and value not in feature.values:
        yield f"{value!r} is none of its values and counts as unknown{_near(value, feature.values)}"
    elif feature.type == "number" and isinstance(value, float) and not feature.min <= value <= feature.max:
        yield f"{value:g} is clipped to the declared range, {feature.min:g} to {feature.max:g}"


def _near(name: str, known: Mapping[str, FeatureSpec] | tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f'; did you mean "{close[0]}"?' if close else f"; declared: {', '.join(known) or 'none'}"
