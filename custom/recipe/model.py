"""The typed recipe: every hyperparameter of one game, with the algorithm's own defaults.

Keys are those of the zoo's YAML files and of the algorithm's constructor. Values are plain data; a
class is its dotted path, which `custom.recipe.classes` resolves. Nothing of PyTorch is imported.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictStr

ZOO_WRAPPER = "stable_baselines3.common.atari_wrappers.AtariWrapper"
PAPERS_WRAPPER = "custom.wrappers.DeepMindAtariWrapper"


def _no_switch(value: Any) -> Any:
    if isinstance(value, bool):  # Pydantic would take true for 1
        raise ValueError(f"is {value}; write a number")
    return value


NUMBER = BeforeValidator(_no_switch)
Share = Annotated[float, Field(ge=0, le=1), NUMBER]
Norm = Annotated[float, Field(gt=0, allow_inf_nan=True), NUMBER]
Positive = Annotated[float, Field(gt=0, le=1e6), NUMBER]
Count = Annotated[int, Field(ge=1, le=2**53), NUMBER]
Small = Annotated[int, Field(ge=0, le=1000), NUMBER]
Linear = Annotated[str, Field(pattern=r"^lin_(0?\.0*[1-9]\d*(e-\d+)?|[1-9](\.\d+)?e-\d+)$")]
LearningRate = Annotated[float, Field(gt=0, le=1), NUMBER] | Linear
TrainFreq = Count | tuple[Count, Literal["step", "episode"]]


class Values(BaseModel):
    """Named values that never change; descriptions become those of the JSON Schema."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    @property
    def given(self) -> dict[str, Any]:
        """What was written, without defaults; plain data, a copy."""
        return self.model_dump(exclude_unset=True)


def wrapper_items(value: Any) -> list[tuple[str, dict[str, Any]]]:
    """Path and arguments of each wrapper, innermost first; a copy.

    :raises ValueError: an entry is neither a path nor ``{path: arguments}``
    """
    items = []
    for item in value if isinstance(value, list) else [value]:
        pairs = item.items() if isinstance(item, dict) and len(item) == 1 else [(item, None)]
        [(path, arguments)] = pairs
        if not isinstance(path, str) or not isinstance(arguments, dict | None):
            raise ValueError(f"has the entry {item!r}; write a class path or 'path: {{arguments}}'")
        items.append((path, dict(arguments or {})))
    return items


def _env_wrapper(value: Any) -> Any:
    items = wrapper_items(value)
    for path, arguments in items:
        if path != ZOO_WRAPPER and not path.startswith("custom."):
            raise ValueError(f"is {path!r}; write {ZOO_WRAPPER} or custom.FILE.CLASS")
        if arguments.get("action_repeat_probability"):
            raise ValueError(
                "has sticky actions; write env_kwargs: {repeat_action_probability: ...}"
            )
    if sum(path.endswith("AtariWrapper") for path, _ in items) != 1:
        raise ValueError(f"needs one wrapper that skips and shrinks frames: {ZOO_WRAPPER}")
    return [{path: arguments} if arguments else path for path, arguments in items]


EnvWrapper = Annotated[
    str | dict[str, Any] | list[str | dict[str, Any]], BeforeValidator(_env_wrapper)
]


class EnvKwargs(Values):
    """Arguments of ale-py's environment."""

    full_action_space: StrictBool = False
    mode: Small | None = None
    difficulty: Small | None = None
    repeat_action_probability: Share | None = None
    """Sticky actions (Machado et al. 2018)."""

    @property
    def variant(self) -> dict[str, Any]:
        """What makes it another game than the published one, whose scores do not hold for it."""
        return self.model_dump(exclude={"full_action_space"}, exclude_unset=True, exclude_none=True)


def _whole(value: Any) -> Any:
    """Floats that are whole as integers, as sizes and strides of layers need them."""
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class PolicyKwargs(Values):
    """Arguments of the policy; a policy of your own may take more."""

    model_config = ConfigDict(extra="allow")
    activation_fn: StrictStr = ""
    features_extractor_class: StrictStr = ""
    features_extractor_kwargs: Annotated[dict[str, Any], BeforeValidator(_whole)] = {}
    net_arch: list[Count] | None = None
    normalize_images: StrictBool = True
    optimizer_class: StrictStr = ""
    optimizer_kwargs: dict[str, Any] = {}
    dueling: StrictBool = False
    """Wang et al. 2016; this and what follows is of custom.policies.AtariPolicy."""
    noisy: StrictBool = False
    """Fortunato et al. 2018."""
    sigma: Positive = 0.5
    """Of the noise at the start."""
    n_atoms: Literal[0] | Annotated[int, Field(ge=2, le=1000), NUMBER] = 0
    """Of the return (C51, Bellemare et al. 2017); 0: none."""
    v_max: Positive = 10.0
    """The atoms reach from -v_max to v_max."""
    n_quantiles: Small = 0
    """Of the return (QR-DQN, Dabney et al. 2018); 0: none."""


class PrioritizedReplay(Values):
    """Exponents of prioritized replay (Schaul et al. 2016)."""

    alpha: Share = 0.6
    beta: Share = 0.4


class Hyperparams(Values):
    """What both algorithms know. Unit of time: steps of all games together (1 step = 4 frames)."""

    env_wrapper: EnvWrapper
    """Wrappers of one game, innermost first: class paths, or {path: arguments}."""
    frame_stack: Annotated[int, Field(ge=1, le=64), NUMBER]
    n_timesteps: Count
    """Budget of the run."""
    policy: StrictStr
    """CnnPolicy, or the dotted path of a policy class."""
    batch_size: Annotated[int, Field(ge=1, le=100_000), NUMBER] = 32
    buffer_size: Count = 1_000_000
    """Transitions of the replay."""
    env_kwargs: EnvKwargs = EnvKwargs()
    exploration_final_eps: Share = 0.05
    exploration_fraction: Share = 0.1
    """Share of the budget in which epsilon falls."""
    exploration_initial_eps: Share = 1.0
    frame_stack_padding: Literal["zero", "first"] = "zero"
    """Before the first frame of an episode: blank frames, or that frame again."""
    gamma: Share = 0.99
    gradient_steps: Literal[-1] | Annotated[int, Field(ge=1, le=10**6), NUMBER] = 1
    """Updates after each train_freq; -1: as many as steps were taken."""
    learning_rate: LearningRate = 1e-4
    """A number, or lin_NUMBER: falls to 0 over the run."""
    learning_starts: Annotated[int, Field(ge=0, le=2**53), NUMBER] = 100
    """Steps at random before the first update."""
    max_grad_norm: Norm | None = 10.0
    n_envs: Annotated[int, Field(ge=1, le=1024), NUMBER] = 1
    """Games at once."""
    n_steps: Annotated[int, Field(ge=1, le=1000), NUMBER] = 1
    """Steps of a return."""
    optimize_memory_usage: StrictBool = False
    policy_kwargs: PolicyKwargs = PolicyKwargs()
    replay_buffer_class: StrictStr = ""
    replay_buffer_kwargs: dict[str, Any] = {}
    stats_window_size: Count = 100
    target_update_interval: Count = 10_000
    tau: Annotated[float, Field(gt=0, le=1), NUMBER] = 1.0
    train_freq: TrainFreq = 4
    """Steps of each game between updates, or [n, step] or [n, episode]."""

    @property
    def period(self) -> tuple[int, str]:
        """Of updates: a number of steps of each game, or of episodes."""
        return (self.train_freq, "step") if isinstance(self.train_freq, int) else self.train_freq

    def replace(self, **values: Any) -> "Hyperparams":
        """A copy with other values, checked."""
        return type(self).model_validate({**self.given, **values})


class DQNHyperparams(Hyperparams):
    """DQN, with the options of the papers that followed it."""

    double_q: StrictBool = False
    """The online network chooses the next action (van Hasselt et al. 2016)."""
    exploration_decay: Share = 0.0
    """Above 0: epsilon falls exponentially at this rate per step."""
    loss: Literal["huber", "mse"] = "huber"
    munchausen_alpha: Share = 0.0
    """Vieillard et al. 2020, as the next two."""
    munchausen_clip: Annotated[float, Field(le=0), NUMBER] = -1.0
    munchausen_temperature: Positive = 0.03
    prioritized_replay: PrioritizedReplay | None = None


class QRDQNHyperparams(Hyperparams):
    """sb3-contrib's QR-DQN, with its defaults."""

    exploration_final_eps: Share = 0.01
    exploration_fraction: Share = 0.005
    learning_rate: LearningRate = 5e-5
    max_grad_norm: Norm | None = None


ALGORITHMS: dict[str, type[Hyperparams]] = {"dqn": DQNHyperparams, "qrdqn": QRDQNHyperparams}
