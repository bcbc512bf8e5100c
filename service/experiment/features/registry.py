"""The types of features there are."""

from __future__ import annotations

from service.experiment.features.category import Category
from service.experiment.features.feature_type import FeatureType
from service.experiment.features.flag import Flag
from service.experiment.features.number import Number
from service.experiment.spec import ColumnSpec, FeatureSpec
from service.text.csv_table import Table

TYPES: dict[str, FeatureType] = {kind.name: kind for kind in (Category(), Number(), Flag())}


def feature_columns(name: str, feature: FeatureSpec) -> list[ColumnSpec]:
    """The columns of a feature, in the order in which they are numbered; none of one whose type could not be read."""
    return TYPES[feature.type].columns(name, feature) if feature.type else []


def guessed(table: Table, name: str) -> FeatureSpec:
    """What an undeclared column is; every cell can be a value of the first type, a category."""
    found = (kind.guess(table, name) for kind in reversed(TYPES.values()))
    return next(feature for feature in found if feature is not None)
