"""The model card of an agent: what it scores, how to load it, how to train it again.

``model_card.md`` is its text. Leaderboards and the Deep RL course read the front matter: the
environment id as a tag, and the score as the text ``mean +/- std``.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from custom.env.games import is_registered_elsewhere
from custom.evaluation.results import score_rows
from custom.learner.off_policy import TRAINING_ONLY
from custom.recipe.classes import PLAYERS
from custom.recipe.model import ZOO_WRAPPER, wrapper_items
from custom.runs.folder import Run

TAG = "sb3-atari-dqn"
TEMPLATE = Path(__file__).with_name("model_card.md")


def model_card(
    run: Run, evaluation: dict[str, Any], repo: str, file: str, curve: bool, onnx: bool = False
) -> ModelCard:
    """The card of an agent.

    :param evaluation: of this agent, by the protocol
    :param repo: ``user/name``
    :param file: the agent's name in the repository
    :param curve: whether there is a learning curve
    :param onnx: whether there is ``agent.onnx``
    """
    user, _, name = repo.partition("/")
    algorithm, seed = PLAYERS[run.facts["algo"]], run.facts["seed"]
    revision = str(run.facts.get("git_revision") or "")
    command = f"GAME={run.game.env_id} RECIPE={name}/recipe.yml"
    card: ModelCard = ModelCard.from_template(
        card_data(run, evaluation),
        template_path=str(TEMPLATE),
        **evaluation,
        repo=repo,
        user=user,
        name=name,
        file=file,
        module=algorithm.__module__.partition(".")[0],
        algorithm=algorithm.__name__,
        rows=score_rows(run, evaluation),
        curve=curve,
        onnx=onnx,
        **_loading(run),
        revision=revision.removesuffix("+changes"),
        changed=revision.endswith("+changes"),
        command=command if seed < 0 else f"{command} SEED={seed}",
        began_as_another="parent" in run.facts,
        training=_training(run.facts, evaluation["steps"]),
    )
    return card


def card_data(run: Run, evaluation: dict[str, Any]) -> ModelCardData:
    """The front matter."""
    result = EvalResult(
        task_type="reinforcement-learning",
        task_name="reinforcement-learning",
        dataset_type=run.game.env_id,
        dataset_name=run.game.env_id,
        metric_type="mean_reward",
        metric_name="mean_reward",
        metric_value=f"{evaluation['mean']:.2f} +/- {evaluation['std']:.2f}",
        verified=False,
    )
    tags = [run.game.env_id, "deep-reinforcement-learning", "reinforcement-learning"]
    return ModelCardData(
        model_name=PLAYERS[run.facts["algo"]].__name__,
        eval_results=[result],
        library_name="stable-baselines3",
        license=None if _is_of_others(run.facts) else "mit",
        pipeline_tag="reinforcement-learning",
        tags=[*tags, "stable-baselines3", "atari", run.facts["algo"], TAG],
    )


def _is_of_others(facts: dict[str, Any]) -> bool:
    """Whether an agent is, or began as, one that was pulled; its licence is not known here."""
    return "pulled" in facts or ("parent" in facts and _is_of_others(facts["parent"]))


def _loading(run: Run) -> dict[str, Any]:
    """What the template says of loading."""
    values = run.hyperparams
    kwargs = values.policy_kwargs.given
    named = [values.policy, *(kwargs[key] for key in kwargs if key not in TRAINING_ONLY)]
    classes = sorted(x for x in named if isinstance(x, str) and x.startswith("custom."))
    wrappers = wrapper_items(values.env_wrapper)
    project_wrappers = [path for path, _ in wrappers if path != ZOO_WRAPPER]
    known = is_registered_elsewhere(run.game.env_id)
    arguments = [repr(run.game.env_id)]
    if run.env_kwargs:
        arguments.append(f"env_kwargs={run.env_kwargs}")
    if wrappers[0][1]:
        arguments.append(f"wrapper_kwargs={wrappers[0][1]}")
    return {
        "project_classes": classes,  # of this project, which SB3 imports to load the agent
        "needs_project": bool(classes or project_wrappers or not known),
        "plain_games": known and not project_wrappers and values.frame_stack_padding == "zero",
        "wrapper": ", ".join(project_wrappers) or "custom.env.games",
        "games": ", ".join(arguments),
        "frame_stack": values.frame_stack,
        "buffer_size": values.buffer_size,
    }


def _named(parent: dict[str, Any]) -> str:
    """The run whose agent was trained further, and how much of it was taken."""
    name = f"{parent['recipe']} on {parent['env_id']}, {parent.get('steps', 0):,} steps"
    return f"{parent['taken']} of {name}"


def _training(facts: dict[str, Any], steps: int) -> list[tuple[str, str]]:
    """Rows of the table of the training; unknown values have none."""
    machine, packages = facts.get("hardware"), facts.get("versions") or {}
    pulled, seconds = facts.get("pulled"), facts.get("wall_clock_seconds")
    parent = facts.get("parent")
    rows = [
        ("pulled from", pulled and f"{pulled['repo']} at {pulled['revision']}"),
        ("began as", parent and _named(parent)),
        ("seed", str(facts["seed"]) if facts["seed"] >= 0 else None),
        ("steps", f"{steps:,} of {facts['n_timesteps']:,}, each of {facts['frame_skip']} frames"),
        ("state", None if facts.get("state") in ("finished", "pulled") else "interrupted"),
        ("engine", ", ".join(f"{key} {value}" for key, value in facts.get("engine", {}).items())),
        ("wall-clock", seconds and timedelta(seconds=round(seconds))),
        ("hardware", machine and f"{machine['cpus']} CPU cores, {machine['gpu'] or 'no GPU'}"),
        ("system", machine and machine["platform"]),
        ("Python", facts.get("python")),
        ("packages", ", ".join(f"{name} {version}" for name, version in packages.items())),
    ]
    return [(label, str(value)) for label, value in rows if value]
