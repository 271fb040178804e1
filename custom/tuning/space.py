"""Search spaces of `make tune`: ranges around the recipe's own values.

A dimension at the recipe's value changes nothing, so the first trial is the recipe itself. What is
not searched (optimizer, network, schedules) stays as the recipe has it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial

from custom.recipe.check import check
from custom.recipe.model import Hyperparams, QRDQNHyperparams
from custom.system.errors import UserError

Values = dict[str, Any]
Change = Callable[[Values, Any], None]

ADAM, RMSPROP = "torch.optim.Adam", "custom.optimizers.DeepMindRMSprop"
RMSPROP_EPS = 0.01 / 32**2  # as in dqn-rmsprop: Mnih et al. 2015 divide a sum over 32, we a mean
LARGEST_RATE = LARGEST_EPS = 0.01
SMALLEST_REPLAY = 1000
WITH_NATURE_CNN = ("CnnPolicy", "custom.policies.AtariPolicy")  # where a recipe names no other


@dataclass(frozen=True)
class Dimension:
    """One number or choice that is searched.

    :param default: the recipe's value
    :param change: writes another value into hyperparameters
    :param when: given the values chosen so far, whether the dimension applies
    """

    name: str
    distribution: BaseDistribution
    default: Any
    change: Change
    when: Callable[[Values], bool] = lambda chosen: True


@dataclass(frozen=True)
class Space:
    """Dimensions around a recipe.

    :param hyperparams: of the recipe, with the budget of a trial
    """

    hyperparams: Values
    dimensions: tuple[Dimension, ...]

    def recipe_point(self) -> Values:
        """The recipe's own values."""
        return self._choose(lambda dimension: dimension.default)

    def suggest(self, trial: BaseTrial) -> Values:
        """Ask a trial for a value of each dimension that applies, in a fixed order."""
        return self._choose(lambda dimension: _suggest(trial, dimension))

    def _choose(self, value_of: Callable[[Dimension], Any]) -> Values:
        chosen: Values = {}
        for dimension in self.dimensions:
            if dimension.when(chosen):
                chosen[dimension.name] = value_of(dimension)
        return chosen

    def resolve(self, chosen: Values) -> Values:
        """The recipe's hyperparameters with chosen values."""
        values = copy.deepcopy(self.hyperparams)
        for dimension in self.dimensions:
            value = chosen.get(dimension.name, dimension.default)
            if value != dimension.default:
                dimension.change(values, value)
        return values


def _suggest(trial: BaseTrial, dimension: Dimension) -> Any:
    name, range_ = dimension.name, dimension.distribution
    if isinstance(range_, CategoricalDistribution):
        return trial.suggest_categorical(name, range_.choices)
    assert isinstance(range_, (FloatDistribution, IntDistribution))
    suggest = trial.suggest_int if isinstance(range_, IntDistribution) else trial.suggest_float
    return suggest(name, range_.low, range_.high, log=range_.log)  # type: ignore[arg-type]


def space_of(values: Values, algo: str, largest_buffer: int, names: list[str]) -> Space:
    """The search space of a recipe.

    :param values: its hyperparameters, with the budget of a trial
    :param largest_buffer: steps of replay that fit into the memory of one trial
    :param names: dimensions that are searched; empty: all
    :raises UserError: an unknown name, or one that the recipe's optimizer does not have
    """
    recipe = check(values, algo)
    dimensions = [
        *_optimizer(recipe),
        *_updates(recipe),
        *_exploration(recipe),
        *_replay(recipe, largest_buffer),
        *_width(recipe),
    ]
    known = [dimension.name for dimension in dimensions]
    for name in names:
        if name not in known:
            raise UserError(f"SEARCH: {name} is none of this recipe's: {', '.join(known)}")
    space = Space(values, tuple(d for d in dimensions if not names or d.name in names))
    never = set(names) - space.recipe_point().keys()
    if never and "optimizer" not in names:
        raise UserError(f"SEARCH: {min(never)} is not of the recipe's optimizer; add optimizer")
    return space


def _at(*path: str, convert: Callable[[Any], Any] = lambda value: value) -> Change:
    """A change of one value, given the keys that lead to it."""
    *parents, last = path

    def change(values: Values, value: Any) -> None:
        for key in parents:
            values[key] = values.get(key) or {}
            values = values[key]
        values[last] = convert(value)

    return change


def _log(
    name: str, low: float, high: float, default: float, change: Change | None = None
) -> Dimension:
    """A number on a logarithmic scale; its range is widened to contain the recipe's value."""
    kind = IntDistribution if isinstance(default, int) else FloatDistribution
    range_ = kind(min(low, default), max(high, default), log=True)  # type: ignore[arg-type]
    return Dimension(name, range_, default, change or _at(name))


def _choice(name: str, default: Any, *usual: Any, change: Change | None = None) -> Dimension:
    """A choice from the usual values and the recipe's."""
    choices = CategoricalDistribution(sorted({default, *usual}))
    return Dimension(name, choices, default, change or _at(name))


def _optimizer(recipe: Hyperparams) -> list[Dimension]:
    """Learning rate, whose schedule stays; Adam or DeepMind's RMSProp, each with its own epsilon.

    Another optimizer stays. So does the one that sb3-contrib chooses for QR-DQN: its epsilon
    follows from the batch size.
    """
    text, kwargs = str(recipe.learning_rate), recipe.policy_kwargs
    schedule = "lin_" if text.startswith("lin_") else ""
    rate = float(text.removeprefix(schedule))
    to_rate = _at("learning_rate", convert=lambda value: f"lin_{value}" if schedule else value)
    learning_rate = _log("learning_rate", rate / 10, min(10 * rate, LARGEST_RATE), rate, to_rate)
    usual = "" if isinstance(recipe, QRDQNHyperparams) else ADAM
    default = {ADAM: "adam", RMSPROP: "rmsprop"}.get(kwargs.optimizer_class or usual)
    if default is None:
        return [learning_rate]
    eps = {"adam": 1e-8, "rmsprop": RMSPROP_EPS}
    eps[default] = float(kwargs.optimizer_kwargs.get("eps", eps[default]))

    def change(into: Values, name: str) -> None:
        alpha = {"alpha": 0.95} if name == "rmsprop" else {}
        path = ADAM if name == "adam" else RMSPROP
        chosen = {"optimizer_class": path, "optimizer_kwargs": {**alpha, "eps": eps[name]}}
        into["policy_kwargs"] = {**(into.get("policy_kwargs") or {}), **chosen}

    def epsilon(name: str, low: float) -> Dimension:
        place = _at("policy_kwargs", "optimizer_kwargs", "eps")
        dimension = _log(f"{name}_eps", low, LARGEST_EPS, eps[name], place)
        return replace(dimension, when=lambda chosen: chosen.get("optimizer", default) == name)

    return [
        learning_rate,
        _choice("optimizer", default, "adam", "rmsprop", change=change),
        epsilon("adam", 1e-8),
        epsilon("rmsprop", 1e-7),
    ]


def _updates(recipe: Hyperparams) -> list[Dimension]:
    """From how much, towards what, and how often the network learns."""
    period, rest = recipe.target_update_interval, 1 - recipe.gamma
    dimensions = [
        _choice("batch_size", recipe.batch_size, 16, 32, 64, 128),
        _log("target_update_interval", max(period // 10, 1), 10 * period, period),
    ]
    if isinstance(recipe.train_freq, int) and recipe.gradient_steps >= 0:
        name = "gradient_steps" if recipe.n_envs > 1 else "train_freq"
        dimensions.append(_choice(name, getattr(recipe, name), 1, 2, 4, 8))
    if rest > 0:  # looking 10 to 1,000 steps ahead
        change = _at("gamma", convert=lambda value: 1 - value)
        dimensions.append(_log("one_minus_gamma", 0.001, 0.1, rest, change))
    if not recipe.replay_buffer_class and not recipe.optimize_memory_usage:
        range_ = IntDistribution(1, max(recipe.n_steps, 10))
        dimensions.append(Dimension("n_steps", range_, recipe.n_steps, _at("n_steps")))
    return dimensions


def _exploration(recipe: Hyperparams) -> list[Dimension]:
    """Length and floor; noisy networks and an exponential decay keep their own."""
    first, final = recipe.exploration_initial_eps, recipe.exploration_final_eps
    fraction, dimensions = recipe.exploration_fraction, []
    if first > final and not getattr(recipe, "exploration_decay", 0):
        # Below twice the warm-up `Recipe.with_budget` lengthens it: there all would be one point.
        warm_up = recipe.learning_starts / recipe.n_timesteps
        low, high = max(fraction / 4, 2 * warm_up), min(4 * fraction, 1.0)
        dimensions.append(_log("exploration_fraction", low, high, fraction))
    if final > 0:
        dimensions.append(_log("exploration_final_eps", 0.001, 0.1, final))
    return dimensions


def _replay(recipe: Hyperparams, largest_buffer: int) -> list[Dimension]:
    """A tenth of what a trial can fill up to all of it, within the memory; priorities."""
    high = min(recipe.n_timesteps, largest_buffer)
    low, size = max(high // 10, SMALLEST_REPLAY), min(recipe.buffer_size, recipe.n_timesteps)
    dimensions = [_log("buffer_size", low, high, size)] if min(low, size) < high else []
    if priorities := getattr(recipe, "prioritized_replay", None):
        for name, own in (("alpha", priorities.alpha), ("beta", priorities.beta)):
            range_, place = FloatDistribution(0.0, 1.0), _at("prioritized_replay", name)
            dimensions.append(Dimension(f"prioritized_{name}", range_, own, place))
    return dimensions


def _width(recipe: Hyperparams) -> list[Dimension]:
    """Units of the last dense layer before the values."""
    kwargs, extractor = recipe.policy_kwargs, recipe.policy_kwargs.features_extractor_kwargs
    path, before = ["features_extractor_kwargs", "hidden"], list(extractor.get("hidden") or [])
    if kwargs.net_arch:
        path, before = ["net_arch"], list(kwargs.net_arch)
    if before:
        width = before.pop()
        change = _at("policy_kwargs", *path, convert=lambda units: [*before, units])
    elif kwargs.features_extractor_class or recipe.policy not in WITH_NATURE_CNN:
        return []
    else:
        width = extractor.get("features_dim", 512)
        change = _at("policy_kwargs", "features_extractor_kwargs", "features_dim")
    return [_choice("width", width, 256, 512, 1024, change=change)]
