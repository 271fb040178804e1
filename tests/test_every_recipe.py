"""Every shipped recipe trains, comes back from its file as it was, and can be searched around."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch as th

from custom.env.games import make_games
from custom.recipe.check import check
from custom.recipe.games import find_game
from custom.recipe.recipe import load_recipe
from custom.runs.agents import load_agent
from custom.system.errors import UserError
from custom.training.prepare import prepare
from custom.training.settings import Settings
from custom.training.train import train
from custom.tuning.space import Space, space_of
from tests.conftest import longer
from tests.test_resolved_recipes import NAMES

PONG = find_game("Pong")
KINDS = ["dqn", "qrdqn", "dqn-rmsprop", "rainbow"]  # what the other recipes are made of

NATURE, IMPALA_512 = (3136, 512), (3872, 512)
DENSE = {  # what is not here is Nature's, with a value for each of six actions
    "cpu": [(576, 256), (256, 6)],
    "dueling_dqn": [NATURE, (512, 1), NATURE, (512, 6)],
    "impala_dqn": [IMPALA_512, (512, 6)],
    "qrdqn": [NATURE, (512, 200 * 6)],
    "qrdqn-impala": [IMPALA_512, (512, 200 * 6)],
    "c51": [NATURE, (512, 51 * 6)],
    "rainbow": [NATURE, (512, 51), NATURE, (512, 51 * 6)],
    "best": [IMPALA_512, (512, 51 * 6)],
    "dqn-keras": [(64 * 10 * 9, 512), (512, 6)],
    "dueling_dqn-fullframe": [(3 * 64 * 22 * 16, 512), (512, 256), (256, 1), (256, 6)],
}


@pytest.mark.parametrize("name", [*KINDS, *longer(*sorted({*NAMES} - {*KINDS}))])
def test_a_recipe_trains_and_its_agent_is_the_same_after_loading(name: str, tmp_path: Path) -> None:
    steps = 24 if name.endswith("fullframe") else 48  # 34.8 million weights take their time
    recipe = load_recipe(name, PONG).with_budget(steps)
    experiment = prepare(recipe, PONG, Settings(0, tmp_path, eval_freq=10**9))
    model = experiment.model
    network = next(model.policy.children())
    linear = [m for m in network.modules() if isinstance(m, th.nn.Linear)]
    shapes = [(layer.in_features, layer.out_features) for layer in linear]
    assert shapes == DENSE.get(name, [NATURE, (512, 6)])
    assert train(experiment) == 0
    assert model._n_updates > 0
    loaded = load_agent(experiment.run, experiment.run.final_model)
    env = make_games(PONG, experiment.run.hyperparams, 2, seed=1)
    obs = env.reset()
    for _ in range(15):
        before, _ = model.predict(obs, deterministic=True)
        after, _ = loaded.predict(obs, deterministic=True)
        assert np.array_equal(before, after)
        obs, *_ = env.step(np.random.default_rng(0).integers(env.action_space.n, size=2))
    env.close()


@pytest.mark.long
@pytest.mark.parametrize("name", ["dqn-keras", "dueling_dqn-fullframe"])
def test_runs_with_other_screens_are_scored_and_filmed(name: str, tmp_path: Path) -> None:
    game = find_game("SpaceInvaders")
    recipe = load_recipe(name, game).with_budget(24)
    experiment = prepare(recipe, game, Settings(0, tmp_path, eval_freq=10**9))
    assert train(experiment, report_episodes=1) == 0
    assert {"evaluation.json", "replay.mp4"} <= {p.name for p in experiment.run.path.iterdir()}


STEPS = 20_000


def space(name: str, *search: str) -> tuple[Space, dict[str, Any], str]:
    recipe = load_recipe(name, PONG).with_budget(STEPS)
    made = space_of(recipe.hyperparams.given, recipe.algo, list(search))
    return made, recipe.hyperparams.given, recipe.algo


@pytest.mark.parametrize("name", NAMES)
def test_the_first_point_is_the_recipe_itself_and_every_other_one_is_valid(name: str) -> None:
    made, values, algo = space(name)
    own = made.recipe_point()
    chosen = made.suggest(optuna.trial.FixedTrial(own))  # refuses what lies outside of its range
    assert chosen == own
    assert made.resolve(own) == values
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        check(made.resolve(made.suggest(study.ask())), algo)
    for dimension in made.dimensions:  # each changes something
        other = study.ask({dimension.name: dimension.distribution}).params[dimension.name]
        if other != dimension.default:
            assert made.resolve({**own, dimension.name: other}) != values, dimension.name


def test_what_a_recipe_has_is_searched_or_kept() -> None:
    made, values, _ = space("dqn-rmsprop")
    kwargs = made.resolve({**made.recipe_point(), "optimizer_eps": 1e-4})["policy_kwargs"]
    assert kwargs["optimizer_kwargs"] == {"alpha": 0.95, "eps": 1e-4}
    other = made.resolve({**made.recipe_point(), "batch_size": 64})
    assert other["policy_kwargs"] == values["policy_kwargs"]
    made, _, _ = space("qrdqn")
    assert "optimizer_eps" not in made.recipe_point()
    assert "policy_kwargs" not in made.resolve({"batch_size": 128})
    assert "prioritized_alpha" in {d.name for d in space("prioritized_dqn")[0].dimensions}
    assert "prioritized_alpha" not in {d.name for d in space("dqn")[0].dimensions}
    names = {d.name for d in space("rainbow")[0].dimensions}
    assert names.isdisjoint({"exploration_fraction", "exploration_final_eps"})


def test_only_what_is_named_is_searched_and_a_replay_up_to_the_recipes() -> None:
    assert [d.name for d in space("dqn", "gamma")[0].dimensions] == ["gamma"]
    with pytest.raises(UserError, match="SEARCH: gama is none of this recipe's: learning_rate, "):
        space("dqn", "gama")
    [whole] = space("dqn", "buffer_size")[0].dimensions
    assert (whole.distribution.low, whole.distribution.high) == (2000, STEPS)
    values = load_recipe("dqn", PONG).with_budget(STEPS).hyperparams.given | {"buffer_size": 4000}
    [less] = space_of(values, "dqn", ["buffer_size"]).dimensions
    assert (less.distribution.low, less.distribution.high, less.default) == (1000, 4000, 4000)
