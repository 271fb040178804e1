"""Train an agent further: a new run begins with what an earlier run has learnt."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from custom.learner.engine import Engine
from custom.learner.off_policy import AtariOffPolicy
from custom.recipe.check import OPTIMIZER
from custom.recipe.games import Game
from custom.recipe.recipe import Recipe
from custom.replay.memory import replay_size
from custom.runs.agents import load_agent
from custom.runs.folder import Run, open_run
from custom.system.errors import UserError, one_line
from custom.system.manifest import exists
from custom.training.saved_state import load_learnt

OF_THE_REPLAY = (
    *("env_kwargs", "env_wrapper", "frame_stack", "frame_stack_padding"),
    *("prioritized_replay", "replay_buffer_class"),
)
KEPT = ("env_id", "recipe", "seed", "steps", "parent", "pulled")  # of the earlier run's facts


def further(run: Run, recipe: Recipe, game: Game, engine: Engine) -> tuple[dict[str, Any], Recipe]:
    """What a new run takes from an earlier one, and its recipe: epsilon begins at its end.

    Without a replay, the agent itself plays the warm-up. A replay keeps its size.

    :param recipe: of the new run, with its budget
    :return: `parent` of run.json: the earlier run, whether optimizer and replay of its saved state
        are taken, too, and the values that the recipe had before
    :raises UserError: the earlier run is being trained
    """
    if run.is_locked():
        raise UserError(f"FROM {run.path}: is being trained; wait until it stops")
    ours, theirs = recipe.hyperparams, run.hyperparams
    is_same = all(
        getattr(ours, name, None) == getattr(theirs, name, None) for name in OF_THE_REPLAY
    )
    is_same &= (engine.n_envs or ours.n_envs) == theirs.n_envs and engine.buffer == "frames"
    is_same &= run.facts["env_id"] == game.env_id
    has_replay = is_same and exists(run.saved_state)
    changes: dict[str, Any] = {"exploration_initial_eps": ours.exploration_final_eps}
    if has_replay:
        size = replay_size(theirs, run.facts.get("parent"))
        changes |= {"learning_starts": 0, "buffer_size": size}
    mine, its = (values.policy_kwargs.model_dump(include=OPTIMIZER) for values in (ours, theirs))
    with_replay = "weights, optimizer and replay" if mine == its else "weights and replay"
    taken = with_replay if has_replay else "weights only"
    note = f"begins with the {taken} of {run.path.name}; epsilon begins at its end"
    asked = {name: getattr(ours, name) for name in changes}
    parent = {"run": str(run.path), "taken": taken, "has_replay": has_replay, "asked": asked}
    parent |= {name: run.facts[name] for name in KEPT if name in run.facts}
    values = ours.replace(**changes)
    return parent, replace(recipe, hyperparams=values, notes=(*recipe.notes, note))


def inherit(model: AtariOffPolicy, run: Run) -> None:
    """Give the learner of a new run what its parent has learnt.

    :raises UserError: the networks differ, or a file is damaged
    """
    parent = open_run(Path(run.facts["parent"]["run"]), "FROM")
    try:
        if run.facts["parent"]["has_replay"]:
            load_learnt(model, parent)
        else:
            agent = load_agent(parent, parent.model("final"), "cpu")
            model.policy.load_state_dict(agent.policy.state_dict())
    except UserError:
        raise
    except Exception as error:  # whatever PyTorch and NumPy raise for damaged files
        raise UserError(f"FROM {parent.path}: does not fit ({one_line(error)[:300]})") from None
