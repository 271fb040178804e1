"""What is compared of a run, whether it was read from a folder or from W&B."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, SkipValidation, ValidationError

from custom.evaluation.scores import Level, human_normalised
from custom.recipe.games import Game, find_game
from custom.recipe.model import Hyperparams
from custom.runs.metrics import FloatArray, core_hours
from custom.system.errors import UserError

LARGEST = 1e12  # no score and no budget is larger


class Facts(BaseModel):
    """Some of the values of run.json."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, arbitrary_types_allowed=True)


class EvalProtocol(Facts):
    """Of the evaluations during a training."""

    epsilon: float
    episodes: int
    noop_max: int
    repeat_action_probability: float
    max_frames: int


class Engine(Facts):
    """What can change the result, with its default."""

    precision: str = "float32"


class Parent(Facts):
    """The run whose agent was trained further."""

    recipe: str
    taken: str
    env_id: str
    steps: int


class Hardware(Facts):
    """Where a run was trained."""

    cpus: int | None = None
    gpu: str | None = None


class Measured(Facts):
    """A finished run: values of its run.json, and what follows.

    :param name: run folder, or address on W&B
    :param steps: (N,), of its evaluations
    :param scores: (N, games), raw points
    :param levels: what scores of its game are compared with
    :param video: of the agent
    """

    env_id: str
    recipe: str
    algo: str
    seed: int
    n_timesteps: Annotated[int, Field(gt=0, lt=LARGEST)]
    frame_skip: Annotated[int, Field(gt=0)]
    eval_protocol: EvalProtocol
    engine: Engine = Engine()
    started: str = ""
    git_revision: str | None = None
    versions: dict[str, str] = {}
    hardware: Hardware = Hardware()
    parent: Parent | None = None
    wall_clock_seconds: float | None = None
    cpu_seconds: float | None = None
    evaluation_cpu_seconds: float | None = None
    name: str
    hyperparams: SkipValidation[Hyperparams]
    steps: SkipValidation[FloatArray]
    scores: SkipValidation[FloatArray]
    levels: SkipValidation[list[Level]]
    video: Path | None = None

    @property
    def game(self) -> Game:
        """The game without its variant."""
        return find_game(self.env_id)

    @property
    def played(self) -> str:
        """The game that was played: its environment id, and its variant."""
        variant = self.hyperparams.env_kwargs.variant
        return " ".join([self.env_id, *(f"{name} {value}" for name, value in variant.items())])

    def human_normalised(self, score: float) -> float | None:
        """See `custom.evaluation.scores`; None for another game than the published one."""
        is_variant = self.hyperparams.env_kwargs.variant
        return None if is_variant else human_normalised(self.game.rom, score)

    @property
    def budget(self) -> int:
        """Of the training, in frames."""
        return self.n_timesteps * self.frame_skip

    @property
    def frames(self) -> FloatArray:
        """(N,), of its evaluations."""
        return self.steps * self.frame_skip

    @property
    def means(self) -> FloatArray:
        """(N,), mean raw score of each evaluation."""
        means: FloatArray = self.scores.mean(axis=1)
        return means

    @property
    def machine(self) -> str:
        """Its GPU, or the number of CPUs."""
        return self.hardware.gpu or f"{self.hardware.cpus or '?'} CPUs"

    @property
    def core_hours(self) -> float | None:
        """CPU hours of its process without evaluations; None: unknown."""
        return core_hours(vars(self))


def measured(name: str, facts: dict[str, Any], **more: Any) -> Measured:
    """A run from its run.json.

    :param more: the fields of `Measured` that are not of run.json
    :raises UserError: it cannot be compared: not finished, not evaluated, or damaged
    """
    if facts.get("state") != "finished":
        raise UserError(f"{name}: {facts.get('state')}, not finished")
    if not more["scores"].size:
        raise UserError(f"{name}: has no evaluation during its training")
    numbers = np.array([*more["steps"], *more["scores"].flat])
    if not ((np.abs(numbers) < LARGEST).all() and (np.diff(more["steps"], prepend=0) > 0).all()):
        raise UserError(f"{name}: its evaluations are not finite, or their steps do not increase")
    try:
        return Measured.model_validate({**facts, **more, "name": name})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        text = f"{name}: run.json or its tracked copy is damaged: {where}: {first['msg']}"
        raise UserError(text) from None
