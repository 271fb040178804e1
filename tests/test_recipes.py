"""Recipes: the shipped ones, and everything that a file can get wrong."""

import importlib.resources
import inspect
import itertools
import json
import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from custom.recipe.classes import PLAYERS
from custom.recipe.games import find_game
from custom.recipe.model import ALGORITHMS
from custom.recipe.recipe import FOLDER, load_recipe, recipe_name
from custom.recipe.schema import json_schema
from custom.system.errors import UserError
from tests.conftest import refused
from tests.test_resolved_recipes import GAMES, NAMES

PONG = find_game("Pong")
WRAPPER = "stable_baselines3.common.atari_wrappers.AtariWrapper"
GOOD = f"{{n_timesteps: 1000, policy: CnnPolicy, batch_size: 32, env_wrapper: {WRAPPER}"
GOOD += ", frame_stack: 4}"


def written(folder: Path, text: str) -> str:
    file = folder / "mine.yml"
    file.write_text(text)
    return str(file)


def with_line(folder: Path, line: str) -> str:
    lines = ["n_timesteps: 1000", "policy: CnnPolicy", "frame_stack: 4", f"env_wrapper: {WRAPPER}"]
    key = line.partition(":")[0]
    kept = [known for known in lines if not known.startswith(f"{key}:")]
    return written(folder, "atari:\n  " + "\n  ".join([*kept, line]) + "\n")


def test_a_short_budget_cuts_the_warm_up_lengthens_exploration_and_tells() -> None:
    recipe = load_recipe("dqn", PONG)
    short = recipe.with_budget(20_000)
    assert (short.hyperparams.learning_starts, short.exploration_steps) == (2_000, 4_000)
    assert "100,000 shortened to 2,000" in short.notes[0]
    assert short.notes[1] == "exploration: 1,000 lengthened to 4,000 steps, twice the warm-up"
    assert recipe.with_budget(None).exploration_steps == 250_000  # 0.05 of 5M
    long = recipe.with_budget(10_000_000)
    assert (long.exploration_steps, long.hyperparams.learning_starts) == (500_000, 100_000)
    assert long.notes == ()


@pytest.mark.parametrize("name", NAMES)
def test_epsilon_still_falls_when_the_agent_begins_to_learn(name: str) -> None:
    for game, steps in itertools.product(GAMES, [20_000, 200_000, 1_000_000, 2_000_000, None]):
        recipe = load_recipe(name, find_game(game)).with_budget(steps)
        if recipe.exploration_steps or recipe.hyperparams.exploration_final_eps > 0:
            assert recipe.exploration_steps >= 2 * recipe.hyperparams.learning_starts


def test_the_name_is_the_files_and_the_digest_is_of_the_values(tmp_path: Path) -> None:
    zoo = str(importlib.resources.files("rl_zoo3") / "hyperparams" / "dqn.yml")
    assert recipe_name(zoo) == recipe_name("dqn") == "dqn"
    assert load_recipe(zoo, PONG).digest != load_recipe("dqn", PONG).digest
    text = f"atari: {GOOD}\n"
    first = load_recipe(written(tmp_path, text), PONG)
    commented = load_recipe(written(tmp_path, f"# my own\n{text}"), PONG)
    spelt_out = load_recipe(written(tmp_path, text.replace("{n_", "{gamma: 0.99, n_", 1)), PONG)
    assert first.digest == commented.digest == spelt_out.digest
    lines = ["gamma: 0.9", "policy_kwargs: {net_arch: []}"]
    lines += ["env_kwargs: {repeat_action_probability: 0}"]
    others = [load_recipe(with_line(tmp_path, line), PONG).digest for line in lines]
    assert len({first.digest, *others}) == 4


@pytest.mark.parametrize("name", ["dqn-rmsprop", "qrdqn"])
def test_a_resolved_recipe_can_be_given_as_a_recipe_again(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name, PONG).with_budget(20_000)
    again = load_recipe(written(tmp_path, recipe.to_yaml(PONG.env_id)), PONG)
    assert (again.name, again.algo) == ("mine", recipe.algo)
    assert again.hyperparams == recipe.hyperparams


def test_whole_numbers_become_whole_and_several_steps_need_their_replay(tmp_path: Path) -> None:
    recipe = load_recipe(with_line(tmp_path, "buffer_size: !!float 1e4"), PONG)
    assert isinstance(recipe.hyperparams.buffer_size, int)
    network = "features_extractor_class: custom.networks.ConvNet, features_extractor_kwargs"
    line = f"policy_kwargs: {{{network}: {{filters: [[4.0, 8.0, 4.0]], hidden: [16.0]}}}}"
    values = load_recipe(with_line(tmp_path, line), PONG).hyperparams
    arguments = values.policy_kwargs.features_extractor_kwargs
    assert repr(arguments) == "{'filters': [[4, 8, 4]], 'hidden': [16]}"
    text = Path(with_line(tmp_path, "n_steps: 3")).read_text()
    buffers = "stable_baselines3.common.buffers"
    line = f"  replay_buffer_class: {buffers}.ReplayBuffer\n"
    with pytest.raises(UserError, match="n_steps above 1 needs a replay of its own"):
        load_recipe(written(tmp_path, text + line), PONG)
    line = line.replace("ReplayBuffer", "NStepReplayBuffer")
    assert load_recipe(written(tmp_path, text + line), PONG).hyperparams.n_steps == 3


def test_all_errors_of_a_recipe_come_at_once(tmp_path: Path) -> None:
    lines = ["target_network_update_freq: 1", "prioritized_replay: true", "gamma: 2", "n_envs: x"]
    text = Path(with_line(tmp_path, lines[0])).read_text() + "".join(f"  {x}\n" for x in lines[1:])
    with pytest.raises(UserError) as error:
        load_recipe(written(tmp_path, text), PONG)
    assert len(str(error.value).splitlines()) == 4
    assert "write target_update_interval" in str(error.value)


NOTATIONS = {
    "policy_kwargs: 'dict(net_arch=[256, 256])'": ("policy_kwargs", {"net_arch": [256, 256]}),
    "replay_buffer_kwargs: 'dict(handle_timeout_termination=True)'": (
        "replay_buffer_kwargs",
        {"handle_timeout_termination": True},
    ),
    "normalize: False": ("normalize", None),
    "normalize: 'False'": ("normalize", None),
    "optimize_memory_usage: True": ("replay_buffer_kwargs", {"handle_timeout_termination": False}),
    f"env_wrapper: [{{{WRAPPER}: }}]": ("env_wrapper", [WRAPPER]),
    "env_kwargs: {full_action_space: True}": ("env_kwargs", {"full_action_space": True}),
    "env_kwargs: null": ("env_kwargs", None),
    "exploration_fraction: 0.0": ("exploration_fraction", 0.0),
}


@pytest.mark.parametrize("line", NOTATIONS)
def test_the_zoos_own_notation_is_read_without_eval(tmp_path: Path, line: str) -> None:
    key, value = NOTATIONS[line]
    assert load_recipe(with_line(tmp_path, line), PONG).hyperparams.given.get(key) == value


@pytest.mark.parametrize("name", ["dqn", "qrdqn"])
def test_the_zoos_installed_files_are_recipes(name: str) -> None:
    file = importlib.resources.files("rl_zoo3") / "hyperparams" / f"{name}.yml"
    recipe = load_recipe(str(file), PONG)
    assert (recipe.algo, recipe.hyperparams.frame_stack) == (name, 4)
    with pytest.raises(UserError, match="name says ppo; write algo: dqn or qrdqn"):
        load_recipe(str(file).replace(name, "ppo"), PONG)


@pytest.mark.parametrize("name", ["qrdqn_pong", "my_qrdqn", "my-qrdqn-2", "best_ppo"])
def test_a_name_with_another_algorithm_in_it_is_asked_about(name: str, tmp_path: Path) -> None:
    file = Path(written(tmp_path, f"atari: {GOOD}\n")).rename(tmp_path / f"{name}.yml")
    with pytest.raises(UserError, match="the file's name says"):
        load_recipe(str(file), PONG)
    file.write_text(f"atari: {GOOD[:-1]}, algo: dqn}}\n")
    assert load_recipe(str(file), PONG).algo == "dqn"


@pytest.mark.parametrize("algo", ["dqn", "qrdqn"])
def test_defaults_are_those_of_the_algorithm(algo: str) -> None:
    theirs = inspect.signature(PLAYERS[algo]).parameters
    model = ALGORITHMS[algo].model_fields
    for name in set(theirs) & set(model) - {"policy", "policy_kwargs"}:
        ours, default = model[name].default, theirs[name].default
        assert (ours or None) == (default or None), name


def test_another_budget_bounds_the_period_of_updates(tmp_path: Path) -> None:
    file = with_line(tmp_path, "learning_starts: 500")
    recipe = load_recipe(file, PONG)
    assert recipe.with_budget(1000) == recipe.with_budget(None) == recipe
    recipe = load_recipe(with_line(tmp_path, "train_freq: 1000000000"), PONG).with_budget(80)
    assert recipe.hyperparams.train_freq == 80
    assert recipe.notes[-1] == "train_freq: 1,000,000,000 shortened to 80 steps, the whole budget"


def test_a_child_says_what_differs_with_its_parents_algorithm(tmp_path: Path) -> None:
    own = f"PongNoFrameskip-v4: {GOOD[:-1]}, gamma: 0.9, tau: 0.5}}\n"
    (tmp_path / "base.yml").write_text(f"atari: {GOOD}\n{own}")
    text = "extends: base\natari: {batch_size: 8}\nPongNoFrameskip-v4: {tau: null}\n"
    values = load_recipe(written(tmp_path, text), PONG).hyperparams
    assert (values.batch_size, values.gamma, values.tau) == (8, 0.9, 1.0)
    alien = load_recipe(written(tmp_path, text), find_game("Alien")).hyperparams
    assert (alien.batch_size, alien.gamma) == (8, 0.99)
    (tmp_path / "qrdqn-base.yml").write_text(f"atari: {GOOD}\n")
    assert load_recipe(written(tmp_path, "extends: qrdqn-base\natari: {}\n"), PONG).algo == "qrdqn"
    (tmp_path / "dqn.yml").write_text("extends: dqn\natari: {gamma: 0.5}\n")
    recipe = load_recipe(str(tmp_path / "dqn.yml"), PONG)
    assert (recipe.algo, recipe.hyperparams.batch_size) == ("dqn", 32)
    (tmp_path / "dqn-x.yml").write_text("extends: qrdqn-base\natari: {}\n")
    with pytest.raises(UserError, match="the file's name says dqn; write algo: dqn or qrdqn"):
        load_recipe(str(tmp_path / "dqn-x.yml"), PONG)


def test_a_file_that_is_not_utf_8_is_said_to_be(tmp_path: Path) -> None:
    file = tmp_path / "mine.yml"
    file.write_bytes(f"atari: {GOOD}\n".encode("utf-16"))
    with pytest.raises(UserError, match="is not UTF-8 text; save it as UTF-8"):
        load_recipe(str(file), PONG)


def test_the_committed_schema_is_that_of_the_model_and_refuses_what_is_wrong() -> None:
    schema = json.loads((FOLDER / "schema.json").read_text())
    assert schema == json_schema(), "python -m custom.recipe.schema writes it anew"
    for line in ("batch_size: 0", "lerning_rate: 1", "loss: l1", "train_freq: [x, step]"):
        entries = yaml.safe_load(f"atari: {{{line}}}")
        assert list(Draft202012Validator(schema).iter_errors(entries)), line


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_takes_every_shipped_recipe(name: str) -> None:
    text = (FOLDER / f"{name}.yml").read_text()
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    Draft202012Validator(json_schema()).validate(yaml.safe_load(text))


LINES = {
    "algo: [dqn]": "algo is ['dqn']; write dqn or qrdqn",
    f"env_wrapper: {{{WRAPPER}: {{actions: [NOOP]}}}}": "AtariWrapper.actions is not a known key",
    "double_q: 1": "double_q is 1; it must be a valid boolean",
    "loss: l1": "loss is 'l1'; it must be 'huber' or 'mse'",
    "prioritized_replay: true": "prioritized_replay is True; write named values",
    "learning_rate: lin_fast": "it must be a number above 0, at most 1, or",
    "frame_skip: 3": "frame_skip is not known here; write it behind a wrapper",
    "seed: 1": "seed is not known here; give make SEED=...",
    "subsample_steps: 2": "write gradient_steps: train_freq divided by it",
    "features_dim: 512": "write policy_kwargs: {features_extractor_kwargs: {features_dim: ...}}",
    "monitor_kwargs: {info_keywords: [x]}": "names code or needs a pickle; delete it",
    "batch_size: true": "batch_size is True; write a number",
    "munchausen_temperature: 0.1": "munchausen_temperature does nothing without munchausen_alpha",
    "lerning_rate: 0.1": "lerning_rate is not a known key; did you mean learning_rate?",
    "train_freq: [4, moon]": "train_freq is [4, 'moon']; it must be a valid integer or",
    "policy_kwargs: 'dict(net_arch=[open(1)])'": "which is not run (",
    "policy_kwargs: {optimizer_class: os.system}": "from one of: custom, gymnasium",
    "policy_kwargs: {optimizer_class: torch.optim.Adm}": "there is no class 'torch.optim.Adm'",
    "policy_kwargs: {optimizer_class: torch.nn.Linear}": "not a Optimizer class",
    "env_wrapper: builtins.print": "is 'builtins.print'; write stable_baselines3.",
    "env_wrapper: []": "needs one wrapper that skips and shrinks frames",
    f"env_wrapper: {{{WRAPPER}: {{action_repeat_probability: 0.2}}}}": "has sticky actions; write",
    f"env_wrapper: {{{WRAPPER}: {{frame_skip: 0}}}}": "frame_skip is 0; it must be from 1",
    "n_timesteps: .inf": "n_timesteps is inf; it must be",
    "policy: stable_baselines3.ppo.policies.CnnPolicy": "not a DQNPolicy class",
    "policy_kwargs: {lr_schedule: 1}": "policy_kwargs.lr_schedule is not a known key",
    "noisy: true": "noisy is not known here; it is a policy_kwargs of custom.policies",
    "env_kwargs: {frameskip: 4}": "env_kwargs.frameskip is not a known key",
    "policy_kwargs: {features_extractor_kwargs: {cnn_arch: [32]}}": "known: features_dim, norm",
}


def test_a_key_of_this_projects_policy_names_it() -> None:
    values = load_recipe("dqn+n_steps=3+policy_kwargs.dueling=true", PONG).hyperparams
    assert (values.policy, values.n_steps) == ("custom.policies.AtariPolicy", 3)


@pytest.mark.parametrize("line", LINES)
def test_a_wrong_value_is_refused_with_file_game_key_and_fix(tmp_path: Path, line: str) -> None:
    with pytest.raises(UserError) as error:
        load_recipe(with_line(tmp_path, line), PONG)
    assert LINES[line] in str(error.value)
    for message in str(error.value).splitlines():
        assert message.startswith(f"{tmp_path}/mine.yml: atari: ")


QRDQN = f"atari: {GOOD[:-1]}, algo: qrdqn, "
FILES = {
    QRDQN + "double_q: true}": "double_q is not known here; it is a key of dqn",
    QRDQN + "policy_kwargs: {dueling: true}}": "policy_kwargs.dueling is not known here; it is",
    QRDQN.replace("CnnPolicy", "custom.policies.AtariPolicy") + "}": "is not a QRDQNPolicy class",
    QRDQN + "policy_kwargs: {optimizer_kwargs: {eps: 0.1}}}": "optimizer_kwargs needs optimizer_cl",
    f"atari: {GOOD}\natari: {GOOD}\n": "line 2: the key 'atari' stands twice",
    "- a\n- b\n": "holds no games",
    "default: {}\n": "no entry for PongNoFrameskip-v4",
    "atari:\n": "atari: has no values",
    "atari: {policy: CnnPolicy}\n": "env_wrapper is missing; copy it from",
    f"PonNoFrameskip-v4: {GOOD}\natari: {GOOD}\n": "did you mean PongNoFrameskip-v4?",
    "extends: nothing\natari: {}\n": "extends is 'nothing'; write the name of a recipe",
    "extends: ../dqn\natari: {}\n": "extends is '../dqn'; write the name",
    "extends: double_dqn\natari: {}\n": "extends double_dqn, which extends another recipe",
    "atari: !!python/object/apply:os.system ['true']\n": "line 1: the tag '!!python",
    f"ALE/Breakout-v5: {GOOD}\n": "no entry for PongNoFrameskip-v4, but for ALE/Breakout-v5; write",
    f"{GOOD}\n": "holds the values of one run, not of games (a config.yml?); give the recipe.yml",
    f"atari: {GOOD[:-1]}, n_envs: !!int twelve}}\n": "line 1: 'twelve' is no !!int",
    "atari: {policy_kwargs: {on: 3}}\n": "the key True is not text; write it in quotes",
}


@pytest.mark.parametrize("text", FILES)
def test_a_broken_file_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError) as error:
        load_recipe(written(tmp_path, text), PONG)
    assert FILES[text] in str(error.value)


def test_an_entry_is_named_as_the_command_does_and_others_never_matter(tmp_path: Path) -> None:
    for key in ("Pong", "pong", "PongNoFrameskip-v4"):
        text = f"extends: dqn\n{key}: {{gamma: 0.5}}\n"
        assert load_recipe(written(tmp_path, text), PONG).hyperparams.gamma == 0.5
    text = f"BreakoutNoFrameskip-v4-tuned: {GOOD}\natari: {GOOD}\nCartPole-v1: {{x: 1}}\n"
    assert load_recipe(written(tmp_path, text), PONG).algo == "dqn"
    with pytest.raises(UserError, match="did you mean BreakoutNoFrameskip-v4"):
        load_recipe(written(tmp_path, text), find_game("Breakout"))


def test_other_values_stand_behind_the_name_of_a_recipe_or_its_path(tmp_path: Path) -> None:
    text = "dqn+learning_rate=2.5e-4+n_steps=3+policy_kwargs.net_arch=[16,8]+train_freq=[2,step]"
    recipe, plain = load_recipe(text, PONG), load_recipe("dqn", PONG)
    values = recipe.hyperparams
    assert (values.learning_rate, values.n_steps, values.period) == (2.5e-4, 3, (2, "step"))
    assert values.policy_kwargs.net_arch == [16, 8]
    assert values.buffer_size == plain.hyperparams.buffer_size
    assert recipe.name == text.replace("[", "_").replace("]", "_")
    assert load_recipe(f"{recipe.file}{recipe.changes}", PONG) == recipe
    assert load_recipe("dqn+batch_size=null", PONG).hyperparams.batch_size == 32
    file = tmp_path / "dqn+gamma=0.9" / "mine.yml"
    file.parent.mkdir()
    file.write_text("extends: dqn\natari: {gamma: 0.8}\n")
    assert load_recipe(str(file), PONG).hyperparams.gamma == 0.8
    assert load_recipe(f"{file}+gamma=0.7", PONG).name == "mine+gamma=0.7"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("gama=0.9", "gama is not a known key; did you mean gamma"),
        ("gamma=2", "gamma is 2; it must be less than or equal to 1"),
        ("gamma", "SET 'gamma': write key=value"),
        ("gamma.x=1", "gamma.x: gamma is 0.99, which has no x|gamma"),
        ("policy_kwargs.duelling=true", "duelling"),
        ("gamma=!!python/none", "the tag"),
    ],
)
def test_wrong_values_are_told_as_those_of_a_file(words: str, said: str) -> None:
    assert re.search(said, refused("scripts.train", "--game", "Pong", "--set", words))
    zoos = words.replace("=", ":", 1)
    assert re.search(said, refused("scripts.train", "--game", "Pong", "-params", zoos))
