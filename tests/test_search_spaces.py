"""Search spaces: their first point is the recipe, and every point is a recipe that is valid."""

from typing import Any

import optuna
import pytest

from custom.recipe.check import check
from custom.recipe.games import find_game
from custom.recipe.recipe import FOLDER, load_recipe
from custom.system.errors import UserError
from custom.tuning.space import Space, space_of

PONG = find_game("Pong")
RECIPES = sorted(path.stem for path in FOLDER.glob("*.yml"))
STEPS = 20_000


def space(name: str, *search: str) -> tuple[Space, dict[str, Any], str]:
    recipe = load_recipe(name, PONG).with_budget(STEPS)
    made = space_of(recipe.hyperparams.given, recipe.algo, list(search))
    return made, recipe.hyperparams.given, recipe.algo


@pytest.mark.parametrize("name", RECIPES)
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
    assert (
        made.resolve({**made.recipe_point(), "batch_size": 64})["policy_kwargs"]
        == values["policy_kwargs"]
    )
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
