"""A search space: dimensions around a recipe, of which some apply only where others do."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial

Values = dict[str, Any]


@dataclass(frozen=True)
class Dimension:
    """One number or choice that is searched.

    :param own: the recipe's value
    :param apply: puts another value into hyperparameters
    :param when: of the values chosen before, whether this one is asked for at all
    """

    name: str
    distribution: BaseDistribution
    own: Any
    apply: Callable[[Values, Any], None]
    when: Callable[[Values], bool] = lambda chosen: True


@dataclass(frozen=True)
class Space:
    """Dimensions around a recipe.

    :param hyperparams: of the recipe, its budget that of a trial
    """

    hyperparams: Values
    dimensions: tuple[Dimension, ...]

    def own(self) -> Values:
        """The recipe's own point."""
        chosen: Values = {}
        for dimension in self.dimensions:
            if dimension.when(chosen):
                chosen[dimension.name] = dimension.own
        return chosen

    def suggest(self, trial: BaseTrial) -> Values:
        """Ask a trial for a value of each dimension that applies, in a fixed order."""
        chosen: Values = {}
        for dimension in self.dimensions:
            if dimension.when(chosen):
                chosen[dimension.name] = _suggest(trial, dimension)
        return chosen

    def resolve(self, chosen: Values) -> Values:
        """The recipe's hyperparameters with chosen values."""
        values = copy.deepcopy(self.hyperparams)
        for dimension in self.dimensions:
            if dimension.name in chosen and chosen[dimension.name] != dimension.own:
                dimension.apply(values, chosen[dimension.name])
        return values


def _suggest(trial: BaseTrial, dimension: Dimension) -> Any:
    found = dimension.distribution
    if isinstance(found, FloatDistribution):
        return trial.suggest_float(dimension.name, found.low, found.high, log=found.log)
    if isinstance(found, IntDistribution):
        return trial.suggest_int(dimension.name, found.low, found.high, log=found.log)
    assert isinstance(found, CategoricalDistribution)
    return trial.suggest_categorical(dimension.name, found.choices)
