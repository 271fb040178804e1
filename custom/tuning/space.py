"""Search spaces of `make tune`: ranges around the recipe's own values.

A dimension at the recipe's value changes nothing, so the first trial is the recipe itself. What is
not searched (kind of optimizer, network, schedules) stays as the recipe has it.
"""

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

from custom.recipe.check import check
from custom.recipe.model import Hyperparams, QRDQNHyperparams
from custom.system.errors import UserError

Values = dict[str, Any]

LARGEST_RATE = LARGEST_EPS = 0.01
DEFAULT_EPS = {"torch.optim.Adam": 1e-8, "custom.optimizers.DeepMindRMSprop": 0.01}
SMALLEST_REPLAY = 1000


@dataclass(frozen=True)
class Dimension:
    """One number or choice that is searched.

    :param default: the recipe's value
    :param path: keys that lead to it in the hyperparameters
    :param convert: makes a hyperparameter of a value
    """

    name: str
    distribution: BaseDistribution
    default: Any
    path: tuple[str, ...]
    convert: Callable[[Any], Any] = lambda value: value

    def suggest(self, trial: BaseTrial) -> Any:
        """Ask a trial for a value."""
        range_ = self.distribution
        if isinstance(range_, CategoricalDistribution):
            return trial.suggest_categorical(self.name, range_.choices)
        assert isinstance(range_, (FloatDistribution, IntDistribution))
        suggest = trial.suggest_int if isinstance(range_, IntDistribution) else trial.suggest_float
        return suggest(self.name, range_.low, range_.high, log=range_.log)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Space:
    """Dimensions around a recipe.

    :param hyperparams: of the recipe, with the budget of a trial
    """

    hyperparams: Values
    dimensions: tuple[Dimension, ...]

    def recipe_point(self) -> Values:
        """The recipe's own values."""
        return {dimension.name: dimension.default for dimension in self.dimensions}

    def suggest(self, trial: BaseTrial) -> Values:
        """Ask a trial for a value of each dimension."""
        return {dimension.name: dimension.suggest(trial) for dimension in self.dimensions}

    def resolve(self, chosen: Values) -> Values:
        """The recipe's hyperparameters with chosen values."""
        resolved = copy.deepcopy(self.hyperparams)
        for dimension in self.dimensions:
            value = chosen.get(dimension.name, dimension.default)
            if value != dimension.default:
                *parents, last = dimension.path
                values = resolved
                for key in parents:
                    values[key] = values.get(key) or {}
                    values = values[key]
                values[last] = dimension.convert(value)
        return resolved


def space_of(values: Values, algo: str, names: list[str]) -> Space:
    """The search space of a recipe.

    :param values: its hyperparameters, with the budget of a trial
    :param names: dimensions that are searched; empty: all
    :raises UserError: an unknown name
    """
    recipe = check(values, algo)
    dimensions = [
        *_optimizer(recipe),
        *_updates(recipe),
        *_exploration(recipe),
        *_replay(recipe),
    ]
    known = [dimension.name for dimension in dimensions]
    for name in names:
        if name not in known:
            raise UserError(f"SEARCH: {name} is none of this recipe's: {', '.join(known)}")
    return Space(values, tuple(d for d in dimensions if not names or d.name in names))


def _log(name: str, low: float, high: float, default: float, *path: str) -> Dimension:
    """A number on a logarithmic scale; its range is widened to contain the recipe's value."""
    kind = IntDistribution if isinstance(default, int) else FloatDistribution
    range_ = kind(min(low, default), max(high, default), log=True)  # type: ignore[arg-type]
    return Dimension(name, range_, default, path or (name,))


def _choice(name: str, default: Any, *usual: Any) -> Dimension:
    """A choice from the usual values and the recipe's."""
    return Dimension(name, CategoricalDistribution(sorted({default, *usual})), default, (name,))


def _optimizer(recipe: Hyperparams) -> list[Dimension]:
    """Learning rate, whose schedule stays; epsilon of Adam or DeepMind's RMSProp.

    The epsilon that sb3-contrib chooses for QR-DQN follows from the batch size and stays.
    """
    text, kwargs = str(recipe.learning_rate), recipe.policy_kwargs
    schedule = "lin_" if text.startswith("lin_") else ""
    rate = float(text.removeprefix(schedule))
    range_ = FloatDistribution(rate / 10, max(min(10 * rate, LARGEST_RATE), rate), log=True)
    convert = "lin_{}".format if schedule else float
    dimensions = [Dimension("learning_rate", range_, rate, ("learning_rate",), convert)]
    usual = "" if isinstance(recipe, QRDQNHyperparams) else "torch.optim.Adam"
    if default := DEFAULT_EPS.get(kwargs.optimizer_class or usual):
        eps = float(kwargs.optimizer_kwargs.get("eps", default))
        path = ("policy_kwargs", "optimizer_kwargs", "eps")
        dimensions.append(_log("optimizer_eps", 1e-8, LARGEST_EPS, eps, *path))
    return dimensions


def _updates(recipe: Hyperparams) -> list[Dimension]:
    """From how much, towards what, and how often the network learns."""
    period = recipe.target_update_interval
    dimensions = [
        _choice("batch_size", recipe.batch_size, 16, 32, 64, 128),
        _log("target_update_interval", max(period // 10, 1), 10 * period, period),
        _choice("gamma", recipe.gamma, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999),
    ]
    if isinstance(recipe.train_freq, int) and recipe.gradient_steps >= 0:
        name = "gradient_steps" if recipe.n_envs > 1 else "train_freq"
        dimensions.append(_choice(name, getattr(recipe, name), 1, 2, 4, 8))
    if not recipe.replay_buffer_class and not recipe.optimize_memory_usage:
        range_ = IntDistribution(1, max(recipe.n_steps, 10))
        dimensions.append(Dimension("n_steps", range_, recipe.n_steps, ("n_steps",)))
    return dimensions


def _exploration(recipe: Hyperparams) -> list[Dimension]:
    """Length and floor; noisy networks and an exponential decay keep their own."""
    first, final = recipe.exploration_initial_eps, recipe.exploration_final_eps
    fraction, dimensions = recipe.exploration_fraction, []
    if first > final and fraction > 0 and not getattr(recipe, "exploration_decay", 0):
        # Below twice the warm-up `Recipe.with_budget` lengthens it: there all would be one point.
        warm_up = recipe.learning_starts / recipe.n_timesteps
        low, high = max(fraction / 4, 2 * warm_up), min(4 * fraction, 1.0)
        dimensions.append(_log("exploration_fraction", low, high, fraction))
    if final > 0:
        dimensions.append(_log("exploration_final_eps", 0.001, 0.1, final))
    return dimensions


def _replay(recipe: Hyperparams) -> list[Dimension]:
    """A tenth of what the recipe's replay holds in a trial up to all of it; priorities."""
    size = min(recipe.buffer_size, recipe.n_timesteps)
    low = max(size // 10, SMALLEST_REPLAY)
    dimensions = [_log("buffer_size", low, size, size)] if low < size else []
    if priorities := getattr(recipe, "prioritized_replay", None):
        for name, own in (("alpha", priorities.alpha), ("beta", priorities.beta)):
            range_, path = FloatDistribution(0.0, 1.0), ("prioritized_replay", name)
            dimensions.append(Dimension(f"prioritized_{name}", range_, own, path))
    return dimensions
