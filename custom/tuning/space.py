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
    if isinstance(range_, FloatDistribution):
        return trial.suggest_float(name, range_.low, range_.high, log=range_.log)
    if isinstance(range_, IntDistribution):
        return trial.suggest_int(name, range_.low, range_.high, log=range_.log)
    assert isinstance(range_, CategoricalDistribution)
    return trial.suggest_categorical(name, range_.choices)


def space_of(hyperparams: Values, algo: str, largest_buffer: int, names: list[str]) -> Space:
    """The search space of a recipe.

    :param hyperparams: with the budget of a trial
    :param largest_buffer: steps of replay that fit into the memory of one trial
    :param names: dimensions that are searched; empty: all
    :raises UserError: an unknown name, or one that the recipe's optimizer does not have
    """
    dimensions = _dimensions(hyperparams, algo, largest_buffer)
    known = [dimension.name for dimension in dimensions]
    for name in names:
        if name not in known:
            raise UserError(f"SEARCH: {name} is none of this recipe's: {', '.join(known)}")
    searched = tuple(d for d in dimensions if not names or d.name in names)
    space = Space(hyperparams, searched)
    never = set(names) - space.recipe_point().keys()
    if never and "optimizer" not in names:
        raise UserError(f"SEARCH: {min(never)} is not of the recipe's optimizer; add optimizer")
    return space


def _dimensions(values: Values, algo: str, largest_buffer: int) -> list[Dimension]:
    period, batch_size = values.get("target_update_interval", 10_000), values.get("batch_size", 32)
    return [
        _learning_rate(values),
        *_optimizer(values, algo),
        _choice("batch_size", batch_size, 16, 32, 64, 128),
        _log("target_update_interval", max(period // 10, 1), 10 * period, period),
        *_train_freq(values),
        *_exploration(values),
        *_discount(values),
        *_returns(values),
        *_replay(values, largest_buffer),
        *_width(values),
        *_priorities(values),
    ]


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


def _learning_rate(values: Values) -> Dimension:
    """Ten times less to ten times more; a schedule stays one."""
    recipes = values.get("learning_rate", 1e-4)
    change = None
    if isinstance(recipes, str):
        recipes = recipes.removeprefix("lin_")
        change = _at("learning_rate", convert=lambda rate: f"lin_{rate}")
    rate = float(recipes)
    return _log("learning_rate", rate / 10, min(10 * rate, LARGEST_RATE), rate, change)


def _optimizer(values: Values, algo: str) -> list[Dimension]:
    """Adam or DeepMind's RMSProp, each with its own epsilon; another optimizer stays.

    So does the one that sb3-contrib chooses for QR-DQN: its epsilon follows from the batch size.
    """
    kwargs = values.get("policy_kwargs") or {}
    classes = {"adam": ADAM, "rmsprop": RMSPROP}
    usual = ADAM if algo == "dqn" else ""
    default = {ADAM: "adam", RMSPROP: "rmsprop"}.get(kwargs.get("optimizer_class", usual))
    if default is None:
        return []
    eps = {"adam": 1e-8, "rmsprop": RMSPROP_EPS}
    eps[default] = float(kwargs.get("optimizer_kwargs", {}).get("eps", eps[default]))

    def change(into: Values, name: str) -> None:
        settings = {"alpha": 0.95} if name == "rmsprop" else {}
        kwargs = into["policy_kwargs"] = into.get("policy_kwargs") or {}
        kwargs["optimizer_class"] = classes[name]
        kwargs["optimizer_kwargs"] = {**settings, "eps": eps[name]}

    def epsilon(name: str, low: float) -> Dimension:
        place = _at("policy_kwargs", "optimizer_kwargs", "eps")
        dimension = _log(f"{name}_eps", low, LARGEST_EPS, eps[name], place)
        return replace(dimension, when=lambda chosen: chosen.get("optimizer", default) == name)

    return [
        _choice("optimizer", default, *classes, change=change),
        epsilon("adam", 1e-8),
        epsilon("rmsprop", 1e-7),
    ]


def _train_freq(values: Values) -> list[Dimension]:
    """How many steps an update comes after; with several games, how many updates come at once."""
    freq, updates = values.get("train_freq", 4), values.get("gradient_steps", 1)
    if not isinstance(freq, int) or updates < 0:
        return []
    if values.get("n_envs", 1) > 1:
        return [_choice("gradient_steps", updates, 1, 2, 4, 8)]
    return [_choice("train_freq", freq, 1, 2, 4, 8)]


def _exploration(values: Values) -> list[Dimension]:
    """Length and floor; noisy networks and an exponential decay keep their own."""
    final = float(values.get("exploration_final_eps", 0.05))
    dimensions = []
    if values.get("exploration_initial_eps", 1.0) > final and not values.get("exploration_decay"):
        fraction = float(values.get("exploration_fraction", 0.1))
        # Below twice the warm-up `Recipe.with_budget` lengthens it: there all would be one point.
        warm_up = values.get("learning_starts", 100) / values["n_timesteps"]
        low, high = max(fraction / 4, 2 * warm_up), min(4 * fraction, 1.0)
        dimensions.append(_log("exploration_fraction", low, high, fraction))
    if final > 0:
        dimensions.append(_log("exploration_final_eps", 0.001, 0.1, final))
    return dimensions


def _discount(values: Values) -> list[Dimension]:
    """How far ahead: 10 to 1,000 steps, as 1 - gamma."""
    rest = 1 - values.get("gamma", 0.99)
    change = _at("gamma", convert=lambda value: 1 - value)
    return [_log("one_minus_gamma", 0.001, 0.1, rest, change)] if rest > 0 else []


def _returns(values: Values) -> list[Dimension]:
    """Steps of n-step returns, where the replay is this project's."""
    steps = values.get("n_steps", 1)
    if "replay_buffer_class" in values or values.get("optimize_memory_usage"):
        return []
    return [Dimension("n_steps", IntDistribution(1, max(steps, 10)), steps, _at("n_steps"))]


def _replay(values: Values, largest_buffer: int) -> list[Dimension]:
    """A tenth of what a trial can fill up to all of it, within the memory."""
    high = min(int(values["n_timesteps"]), largest_buffer)
    size = min(values.get("buffer_size", 1_000_000), high)
    low = max(high // 10, SMALLEST_REPLAY)
    return [_log("buffer_size", low, high, size)] if min(low, size) < high else []


def _priorities(values: Values) -> list[Dimension]:
    """The exponents of a recipe that has them."""
    if (priorities := values.get("prioritized_replay")) is None:
        return []
    return [
        Dimension(
            f"prioritized_{name}",
            FloatDistribution(0.0, 1.0),
            priorities.get(name, usual),
            _at("prioritized_replay", name),
        )
        for name, usual in (("alpha", 0.6), ("beta", 0.4))  # Schaul et al. 2016
    ]


def _width(values: Values) -> list[Dimension]:
    """Units of the last dense layer before the values."""
    kwargs = values.get("policy_kwargs") or {}
    extractor = kwargs.get("features_extractor_kwargs") or {}
    path, before = ["features_extractor_kwargs", "hidden"], list(extractor.get("hidden") or [])
    if kwargs.get("net_arch"):
        path, before = ["net_arch"], list(kwargs["net_arch"])
    if before:
        width = before.pop()
        change = _at("policy_kwargs", *path, convert=lambda units: [*before, units])
    elif "features_extractor_class" in kwargs or values["policy"] not in WITH_NATURE_CNN:
        return []
    else:
        width = extractor.get("features_dim", 512)
        change = _at("policy_kwargs", "features_extractor_kwargs", "features_dim")
    return [_choice("width", width, 256, 512, 1024, change=change)]
