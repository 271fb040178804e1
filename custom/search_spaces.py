"""What `make tune` searches: for each family of recipes, ranges around the recipe's own values.

A dimension that stands at the recipe's own value changes nothing, so the first trial is the recipe
itself. What is not searched (optimizer, network, schedules) stays as the recipe has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from custom.errors import UserError
from custom.tuning.space import Dimension, Space, Values

ADAM, RMSPROP = "torch.optim.Adam", "custom.optimizers.DeepMindRMSprop"
RMSPROP_EPS = 0.01 / 32**2  # as in dqn-rmsprop: Mnih et al. 2015 divide a sum over 32, we a mean
LARGEST_RATE = LARGEST_EPS = 0.01
SMALLEST_REPLAY = 1000
WITH_NATURE_CNN = ("CnnPolicy", "custom.policies.AtariPolicy")  # where a recipe names no other


def space_of(hyperparams: Values, algo: str, largest_buffer: int, names: list[str]) -> Space:
    """The search space of a recipe.

    :param hyperparams: with the budget of a trial
    :param largest_buffer: steps of replay that fit into the memory of one trial
    :param names: dimensions that are searched; empty: all
    :raises UserError: an unknown name, or none is left
    """
    found = [made for build in FAMILIES[algo] for made in build(hyperparams, algo, largest_buffer)]
    known = [dimension.name for dimension in found]
    for name in names:
        if name not in known:
            raise UserError(f"SEARCH: {name} is none of this recipe's: {', '.join(known)}")
    space = Space(hyperparams, tuple(d for d in found if not names or d.name in names))
    never = set(names) - space.own().keys() if "optimizer" not in names else set()
    if never:
        raise UserError(f"SEARCH: {min(never)} is not of the recipe's optimizer; add optimizer")
    return space


def _set(key: str) -> Callable[[Values, Any], None]:
    def apply(values: Values, value: Any) -> None:
        values[key] = value

    return apply


def _choices(own: Any, *usual: Any) -> CategoricalDistribution:
    return CategoricalDistribution(sorted({own, *usual}))


def _learning_rate(values: Values, algo: str, largest: int) -> list[Dimension]:
    """Ten times less to ten times more; a schedule stays one."""
    own = values.get("learning_rate", 1e-4)
    prefix, rate = ("lin_", float(own[4:])) if isinstance(own, str) else ("", float(own))

    def apply(into: Values, value: float) -> None:
        into["learning_rate"] = f"{prefix}{value}" if prefix else value

    high = max(min(10 * rate, LARGEST_RATE), rate)
    return [Dimension("learning_rate", FloatDistribution(rate / 10, high, log=True), rate, apply)]


def _optimizer(values: Values, algo: str, largest: int) -> list[Dimension]:
    """Adam or DeepMind's RMSProp, each with an epsilon of its own; another optimizer stays."""
    kwargs = values.get("policy_kwargs") or {}
    own_class, own_kwargs = kwargs.get("optimizer_class", ADAM), kwargs.get("optimizer_kwargs", {})
    if own_class not in (ADAM, RMSPROP):
        return []
    own = "adam" if own_class == ADAM else "rmsprop"
    usual = {"adam": _adams_epsilon(values, algo), "rmsprop": RMSPROP_EPS}
    if "eps" in own_kwargs:
        usual[own] = float(own_kwargs["eps"])

    def choose(into: Values, value: str) -> None:
        new: Values = {"optimizer_class": ADAM if value == "adam" else RMSPROP}
        extra = {"alpha": 0.95} if value == "rmsprop" else {}
        new["optimizer_kwargs"] = {**extra, "eps": usual[value]}
        into["policy_kwargs"] = {**(into.get("policy_kwargs") or {}), **new}

    found = CategoricalDistribution(["adam", "rmsprop"])
    return [
        Dimension("optimizer", found, own, choose),
        _epsilon("adam", 1e-8, usual["adam"], own),
        _epsilon("rmsprop", 1e-7, usual["rmsprop"], own),
    ]


def _adams_epsilon(values: Values, algo: str) -> float:
    """Where a recipe says nothing: PyTorch's, or that of sb3-contrib's QR-DQN."""
    return 0.01 / values.get("batch_size", 32) if algo == "qrdqn" else 1e-8


def _epsilon(kind: str, low: float, usual: float, own_kind: str) -> Dimension:
    """Of one kind of optimizer."""
    found = FloatDistribution(min(low, usual), max(LARGEST_EPS, usual), log=True)
    return Dimension(
        f"{kind}_eps",
        found,
        usual,
        _set_epsilon,
        lambda chosen: chosen.get("optimizer", own_kind) == kind,
    )


def _set_epsilon(into: Values, value: float) -> None:
    of = into["policy_kwargs"] = dict(into.get("policy_kwargs") or {})
    of.setdefault("optimizer_class", ADAM)  # or sb3-contrib's QR-DQN would choose its epsilon
    of["optimizer_kwargs"] = {**of.get("optimizer_kwargs", {}), "eps": value}


def _batches(values: Values, algo: str, largest: int) -> list[Dimension]:
    own = values.get("batch_size", 32)

    def apply(into: Values, value: int) -> None:
        if algo == "qrdqn" and "optimizer_class" not in (into.get("policy_kwargs") or {}):
            _set_epsilon(into, _adams_epsilon(into, algo))  # or it would change with the batch
        into["batch_size"] = value

    return [Dimension("batch_size", _choices(own, 16, 32, 64, 128), own, apply)]


def _target(values: Values, algo: str, largest: int) -> list[Dimension]:
    """A tenth to ten times the period, in steps."""
    own = values.get("target_update_interval", 10_000)
    found = IntDistribution(max(own // 10, 1), own * 10, log=True)
    return [Dimension("target_update_interval", found, own, _set("target_update_interval"))]


def _train_freq(values: Values, algo: str, largest: int) -> list[Dimension]:
    """How many steps an update comes after; with several games, how many updates come at once."""
    own, updates = values.get("train_freq", 4), values.get("gradient_steps", 1)
    if not isinstance(own, int) or updates < 0:
        return []
    if values.get("n_envs", 1) > 1:
        choices = _choices(updates, 1, 2, 4, 8)
        return [Dimension("gradient_steps", choices, updates, _set("gradient_steps"))]
    return [Dimension("train_freq", _choices(own, 1, 2, 4, 8), own, _set("train_freq"))]


def _exploration(values: Values, algo: str, largest: int) -> list[Dimension]:
    """Length and floor; noisy networks and an exponential decay keep their own."""
    final = values.get("exploration_final_eps", 0.05)
    made = []
    if values.get("exploration_initial_eps", 1.0) > final and not values.get("exploration_decay"):
        share = values.get("exploration_fraction", 0.1)
        # Below twice the warm-up `Recipe.with_budget` lengthens it: there all would be one point.
        warm_up = values.get("learning_starts", 100) / values["n_timesteps"]
        found = FloatDistribution(
            min(max(share / 4, 2 * warm_up), share), min(4 * share, 1.0), log=True
        )
        name = "exploration_fraction"
        made.append(Dimension(name, found, share, _set(name)))
    if final > 0:
        found = FloatDistribution(min(final, 0.001), max(final, 0.1), log=True)
        name = "exploration_final_eps"
        made.append(Dimension(name, found, final, _set(name)))
    return made


def _discount(values: Values, algo: str, largest: int) -> list[Dimension]:
    """How far ahead: 10 to 1,000 steps, as 1 - gamma."""
    own = 1 - values.get("gamma", 0.99)

    def apply(into: Values, value: float) -> None:
        into["gamma"] = 1 - value

    found = FloatDistribution(min(own, 0.001), max(own, 0.1), log=True)
    return [Dimension("one_minus_gamma", found, own, apply)] if own > 0 else []


def _returns(values: Values, algo: str, largest: int) -> list[Dimension]:
    own = values.get("n_steps", 1)
    if "replay_buffer_class" in values or values.get("optimize_memory_usage"):
        return []
    return [Dimension("n_steps", IntDistribution(1, max(own, 10)), own, _set("n_steps"))]


def _replay(values: Values, algo: str, largest: int) -> list[Dimension]:
    """A tenth of what a trial can fill up to all of it, within the memory."""
    most = min(values["n_timesteps"], largest)
    own = min(values.get("buffer_size", 1_000_000), most)
    low = min(max(most // 10, SMALLEST_REPLAY), own)
    if low >= most:
        return []
    found = IntDistribution(low, most, log=True)
    return [Dimension("buffer_size", found, own, _set("buffer_size"))]


def _priorities(values: Values, algo: str, largest: int) -> list[Dimension]:
    """The exponents of a recipe that has them."""
    own = values.get("prioritized_replay")
    if own is None:
        return []

    def apply(name: str) -> Callable[[Values, Any], None]:
        def put(into: Values, value: float) -> None:
            into["prioritized_replay"] = {**into["prioritized_replay"], name: value}

        return put

    return [
        Dimension(
            f"prioritized_{name}", FloatDistribution(0.0, 1.0), own.get(name, usual), apply(name)
        )
        for name, usual in (("alpha", 0.6), ("beta", 0.4))  # Schaul et al. 2016
    ]


def _width(values: Values, algo: str, largest: int) -> list[Dimension]:
    """Units of the last dense layer before the values."""
    kwargs = values.get("policy_kwargs") or {}
    extractor = kwargs.get("features_extractor_kwargs") or {}
    if kwargs.get("net_arch"):
        *before, own = kwargs["net_arch"]
        place = ["net_arch"]
    elif extractor.get("hidden"):
        *before, own = extractor["hidden"]
        place = ["features_extractor_kwargs", "hidden"]
    elif "features_extractor_class" in kwargs or values["policy"] not in WITH_NATURE_CNN:
        return []
    else:
        before, own = [], extractor.get("features_dim", 512)
        place = ["features_extractor_kwargs", "features_dim"]

    def apply(into: Values, value: int) -> None:
        *above, last = ["policy_kwargs", *place]
        for name in above:
            into = into.setdefault(name, {})
        into[last] = value if last == "features_dim" else [*before, value]

    return [Dimension("width", _choices(own, 256, 512, 1024), own, apply)]


Build = Callable[[Values, str, int], list[Dimension]]
SHARED: tuple[Build, ...] = (
    _learning_rate,
    _optimizer,
    _batches,
    _target,
    _train_freq,
    _exploration,
    _discount,
    _returns,
    _replay,
    _width,
)
FAMILIES: dict[str, tuple[Build, ...]] = {"dqn": (*SHARED, _priorities), "qrdqn": SHARED}
