"""Every shipped recipe trains, and its agent comes back from its file as it was."""

from pathlib import Path

import numpy as np
import pytest
import torch as th

from custom.env.games import make_games
from custom.recipe.games import find_game
from custom.recipe.recipe import load_recipe
from custom.runs.agents import load_agent
from custom.training.prepare import prepare
from custom.training.settings import Settings
from custom.training.train import train
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
