"""Recipes: the shipped ones, and everything that a file can get wrong."""

from __future__ import annotations

import importlib.resources
import re
from pathlib import Path

import pytest
import yaml

from custom.errors import UserError
from custom.games import find_game
from custom.recipes import FOLDER, load_recipe, recipe_name

GAMES = [
    "SpaceInvaders",
    "Pong",
    "Breakout",
    "Qbert",
    "Seaquest",
    "MsPacman",
    "BeamRider",
    "Enduro",
]
PONG = find_game("Pong")
WRAPPER = "stable_baselines3.common.atari_wrappers.AtariWrapper"
GOOD = f"{{n_timesteps: 1000, policy: CnnPolicy, batch_size: 32, env_wrapper: {WRAPPER}"
GOOD += ", frame_stack: 4}"


def written(folder: Path, text: str) -> str:
    """The path of a recipe file with this text."""
    file = folder / "mine.yml"
    file.write_text(text)
    return str(file)


def with_line(folder: Path, line: str) -> str:
    """A good recipe with one more line."""
    lines = ["n_timesteps: 1000", "policy: CnnPolicy", "frame_stack: 4", f"env_wrapper: {WRAPPER}"]
    key = line.partition(":")[0]
    kept = [known for known in lines if not known.startswith(f"{key}:")]
    return written(folder, "atari:\n  " + "\n  ".join([*kept, line]) + "\n")


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yml")))
@pytest.mark.parametrize("game", [*GAMES, "Alien", "ALE/Pong-v5"])
def test_every_shipped_recipe_serves_every_game(name: str, game: str) -> None:
    recipe = load_recipe(name, find_game(game))
    assert (recipe.name, recipe.algo) == (name, "qrdqn" if "qrdqn" in name else "dqn")


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yml")))
def test_a_shipped_recipe_has_entries_of_its_own_for_the_eight_games(name: str) -> None:
    entries = yaml.safe_load((FOLDER / f"{name}.yml").read_text())
    assert set(entries) == {"atari", *(f"{game}NoFrameskip-v4" for game in GAMES)}


def test_the_exploration_of_the_paper_ends_after_1_05_million_steps_in_every_game() -> None:
    for game in [*GAMES, "Alien"]:
        recipe = load_recipe("dqn-rmsprop", find_game(game))
        assert recipe.exploration_steps == 1_050_000


def test_the_zoos_own_file_is_a_recipe_where_it_is_plain_data() -> None:
    file = importlib.resources.files("rl_zoo3") / "hyperparams" / "dqn.yml"
    assert load_recipe(str(file), PONG).hyperparams["buffer_size"] == 100_000


def test_a_long_warm_up_is_cut_to_a_tenth_of_the_budget_and_told() -> None:
    recipe = load_recipe("dqn", PONG).with_budget(20_000)
    assert recipe.hyperparams["learning_starts"] == 2_000
    assert "100,000 shortened to 2,000" in recipe.notes[0]


def test_a_warm_up_within_a_tenth_stays() -> None:
    recipe = load_recipe("dqn", find_game("Breakout")).with_budget(2_000_000)
    assert recipe.hyperparams["learning_starts"] == 100_000
    assert recipe.notes == ()


def test_exploration_is_a_fraction_of_the_budget() -> None:
    recipe = load_recipe("dqn", PONG)
    assert recipe.with_budget(None).exploration_steps == 250_000  # 0.05 of 5M
    assert recipe.with_budget(10_000_000).exploration_steps == 500_000


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yml")))
@pytest.mark.parametrize("steps", [20_000, 200_000, 1_000_000, 2_000_000, None])
def test_epsilon_still_falls_when_the_agent_begins_to_learn(name: str, steps: int | None) -> None:
    for game in [*GAMES, "Alien"]:
        recipe = load_recipe(name, find_game(game)).with_budget(steps)
        if recipe.exploration_steps or recipe.hyperparams["exploration_final_eps"] > 0:
            assert recipe.exploration_steps >= 2 * recipe.hyperparams["learning_starts"]


def test_a_lengthened_exploration_is_told() -> None:
    recipe = load_recipe("dqn", PONG).with_budget(20_000)
    assert recipe.exploration_steps == 4_000
    assert recipe.notes[1] == "exploration: 1,000 lengthened to 4,000 steps, twice that"


def test_a_foreign_file_of_the_same_name_keeps_its_runs_apart() -> None:
    zoo = importlib.resources.files("rl_zoo3") / "hyperparams" / "dqn.yml"
    assert recipe_name(str(FOLDER / "dqn.yml")) == recipe_name("dqn") == "dqn"
    assert re.fullmatch("dqn-[0-9a-f]{6}", recipe_name(str(zoo)))
    assert load_recipe(str(zoo), PONG).algo == "dqn"


def test_a_resolved_recipe_can_be_given_as_a_recipe_again(tmp_path: Path) -> None:
    recipe = load_recipe("dqn-rmsprop", PONG).with_budget(20_000)
    file = written(tmp_path, recipe.to_yaml(PONG.env_id))
    assert load_recipe(file, PONG).hyperparams == recipe.hyperparams


def test_whole_numbers_written_as_floats_become_whole(tmp_path: Path) -> None:
    recipe = load_recipe(with_line(tmp_path, "buffer_size: !!float 1e4"), PONG)
    assert isinstance(recipe.hyperparams["buffer_size"], int)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("policy_kwargs: {optimizer_kwargs: {eps: 0.1}}", "would be replaced by sb3-contrib's"),
        ("double_q: true", "double_q is not for qrdqn, which is sb3-contrib's"),
        ("policy: custom.policies.AtariPolicy", "which is not a QRDQNPolicy class"),
        ("policy_kwargs: {dueling: true}", "policy_kwargs.dueling is not a known key"),
    ],
)
def test_what_sb3_contribs_qr_dqn_does_not_know_is_refused(
    line: str, message: str, tmp_path: Path
) -> None:
    file = Path(with_line(tmp_path, line)).rename(tmp_path / "qrdqn-mine.yml")
    with pytest.raises(UserError, match=message):
        load_recipe(str(file), PONG)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{filters: [[32, 8]]}", r"filters\[0\] is \[32, 8\]; write \[channels, kernel, stride\]"),
        ("{filters: [[32, 8, 0]]}", r"filters\[0\] is 0; it must be at least 1"),
        ("{filters: [[32, [8, 4], 4], [-1, 2, 1]]}", r"filters\[1\] is -1; it must be"),
        ("{hidden: 512}", "hidden is 512; write a list"),
        ("{frames: 0}", "frames is 0; it must be at least 1"),
        ("{activation: elu}", "activation is 'elu'; write ELU or GELU"),
    ],
)
def test_what_a_network_cannot_be_is_said(arguments: str, message: str, tmp_path: Path) -> None:
    network = "features_extractor_class: custom.networks.ConvNet"
    line = f"policy_kwargs: {{{network}, features_extractor_kwargs: {arguments}}}"
    with pytest.raises(UserError, match=message):
        load_recipe(with_line(tmp_path, line), PONG)


def test_an_entry_may_name_its_algorithm_and_a_run_of_it_does(tmp_path: Path) -> None:
    recipe = load_recipe("qrdqn", PONG).with_budget(20_000)
    again = load_recipe(written(tmp_path, recipe.to_yaml(PONG.env_id)), PONG)
    assert (again.name, again.algo) == ("mine", "qrdqn")
    assert again.hyperparams == recipe.hyperparams
    copied = written(tmp_path, (FOLDER / "qrdqn.yml").read_text())
    assert load_recipe(copied, PONG).algo == "qrdqn"


def test_a_return_longer_than_the_replay_is_refused(tmp_path: Path) -> None:
    text = Path(with_line(tmp_path, "n_steps: 40")).read_text() + "  buffer_size: 40\n"
    with pytest.raises(UserError, match="n_steps is 40 and buffer_size 40; it has to be larger"):
        load_recipe(written(tmp_path, text), PONG)


def test_several_steps_need_a_replay_of_several_steps(tmp_path: Path) -> None:
    text = Path(with_line(tmp_path, "n_steps: 3")).read_text()
    buffers = "stable_baselines3.common.buffers"
    line = f"  replay_buffer_class: {buffers}.ReplayBuffer\n"
    with pytest.raises(UserError, match="n_steps above 1 needs a replay of its own"):
        load_recipe(written(tmp_path, text + line), PONG)
    line = line.replace("ReplayBuffer", "NStepReplayBuffer")
    assert load_recipe(written(tmp_path, text + line), PONG).hyperparams["n_steps"] == 3


def test_an_alias_used_twice_is_no_duplicate(tmp_path: Path) -> None:
    text = f"atari: &a {GOOD}\nPongNoFrameskip-v4:\n  <<: *a\n  gamma: 0.9\n"
    text += "QbertNoFrameskip-v4:\n  <<: *a\n"
    assert load_recipe(written(tmp_path, text), PONG).hyperparams["gamma"] == 0.9


LINES = {
    "policy_kwargs: {sigma: 0.5}": "sigma needs policy: custom.policies.AtariPolicy",
    "algo: ppo": "algo is 'ppo'; write dqn or qrdqn",
    "munchausen_temperature: .inf": "it must be above 0 and at most 1e+06",
    f"env_wrapper: [{WRAPPER}, custom.wrappers.CropScreen: {{top: 8}}]": "goes before the Atari",
    f"env_wrapper: [custom.wrappers.CropScreen, {WRAPPER}]": "with e.g. {top: 8}",
    "munchausen_clip: -1": "munchausen_clip does nothing without munchausen_alpha",
    f"env_wrapper: {{{WRAPPER}: {{actions: [NOOP]}}}}": "AtariWrapper.actions is not a known key",
    "env_wrapper: {custom.wrappers.DeepMindAtariWrapper: {actions: []}}": "write each action once",
    "env_wrapper: [custom.wrappers.ActionSet]": "write actions as an argument of custom.wrappers",
    "double_q: 1": "double_q is 1; write true or false",
    "loss: l1": "loss is 'l1'; write huber or mse",
    "prioritized_replay: true": "prioritized_replay is True; write named values",
    "prioritized_replay: {aplha: 0.6}": "did you mean alpha?",
    "prioritized_replay: {alpha: 2}": "prioritized_replay.alpha is 2; it must be at least 0",
    "munchausen_clip: 1": "munchausen_clip is 1; it must be at least -inf and at most 0",
    "policy_kwargs: {dueling: true}": "dueling needs policy: custom.policies.AtariPolicy",
    "policy_kwargs: {net_arch: 512}": "policy_kwargs.net_arch is 512; write a list",
    "frame_stack_padding: last": "write zero or first",
    "learning_rate: 1e-4": "learning_rate is the text '1e-4'; write !!float 0.0001",
    "learning_rate: fast": "learning_rate is the text 'fast'; write a number",
    "learning_rate: lin_fast": "write e.g. lin_1e-4",
    "learning_rate: -0.1": "it must be above 0",
    "learning_rate: .nan": "learning_rate is not a number",
    "lerning_rate: 0.1": "lerning_rate is not a known key; did you mean learning_rate?",
    "gamma: 1.5": "gamma is 1.5; it must be at least 0 and at most 1",
    "batch_size: 0": "batch_size is 0; it must be at least 1",
    "batch_size: 1.5": "batch_size is 1.5; it must be a whole number",
    "batch_size: true": "batch_size is True; write a number",
    "optimize_memory_usage: 'yes'": "write true or false",
    "optimize_memory_usage: true": "needs replay_buffer_kwargs",
    "train_freq: [4, moon]": "write a number or [number, step or episode]",
    "policy_kwargs: 'dict(net_arch=[64])'": "is the code 'dict(net_arch=[64])'; write plain data",
    "policy_kwargs: {optimiser_class: x}": "did you mean optimizer_class?",
    "policy_kwargs: {optimizer_class: os.system}": "from one of: custom, gymnasium",
    "policy_kwargs: {optimizer_class: torch.optim.Adm}": "there is no class 'torch.optim.Adm'",
    "policy_kwargs: {optimizer_class: torch.nn.Linear}": "not a Optimizer class",
    "policy_kwargs: {optimizer_kwargs: {epsilon: 1}}": "policy_kwargs.optimizer_kwargs.epsilon",
    "env_wrapper: builtins.print": "is 'builtins.print'; write stable_baselines3.",
    "env_wrapper: gymnasium.wrappers.RecordVideo": "write stable_baselines3.",
    "env_wrapper: []": "needs one wrapper that skips and shrinks frames",
    f"env_wrapper: {{{WRAPPER}: {{frame_skip: 0}}}}": "AtariWrapper.frame_skip is 0; it must be",
    f"env_wrapper: {{{WRAPPER}: {{frame_skip: abc}}}}": "frame_skip is the text 'abc'",
    f"env_wrapper: {{{WRAPPER}: {{action_repeat_probability: 0.25}}}}": "is not a known key",
    "n_timesteps: .inf": "n_timesteps is inf; it must be a whole number",
    "gradient_steps: 0": "gradient_steps is 0, which learns nothing",
    "policy: stable_baselines3.ppo.policies.CnnPolicy": "not a DQNPolicy class",
    "policy_kwargs: {lr_schedule: 1}": "policy_kwargs.lr_schedule is not a known key",
    "policy_kwargs: {optimizer_kwargs: {lr: 1}}": "optimizer_kwargs.lr is not a known key",
    "policy_kwargs: {optimizer_kwargs: {eps: 1e-5}}": "eps is the text '1e-5'; write !!float 1e-05",
    "policy_kwargs: {optimizer_class: torch.optim.LBFGS}": "cannot train a network here",
    "env_wrapper: 5": "has the entry 5",
    "env_wrapper: {custom.wrappers.DeepMindAtariWrapper: {noops: 1}}": "did you mean noop_max?",
    "replay_buffer_kwargs: {handle_timeouts: true}": "did you mean handle_timeout_termination?",
    "replay_buffer_kwargs: {buffer_size: 5}": "replay_buffer_kwargs.buffer_size is not a known key",
    "max_grad_norm: [10]": "max_grad_norm is [10]; write a number",
}


@pytest.mark.parametrize("line", LINES)
def test_a_wrong_value_is_refused_with_file_game_key_and_fix(tmp_path: Path, line: str) -> None:
    with pytest.raises(UserError) as error:
        load_recipe(with_line(tmp_path, line), PONG)
    message = str(error.value)
    assert message.startswith(f"{tmp_path}/mine.yml: atari: ")
    assert LINES[line] in message
    assert "\n" not in message


FILES = {
    f"atari: {GOOD}\natari: {GOOD}\n": "line 2, column 1: the key 'atari' stands twice",
    f"atari: {GOOD[:-1]}, batch_size: 3}}\n": "the key 'batch_size' stands twice; delete one",
    "atari: {n_timesteps: [\n": "line 2",
    "atari:\n\tx: 1\n": "line 2",
    "atari: &a {b: *nope}\n": "undefined alias",
    "- a\n- b\n": "holds no games",
    "": "holds no games",
    "default: {}\n": "no entry for PongNoFrameskip-v4",
    "atari:\n": "atari: has no values",
    "atari: {policy: CnnPolicy}\n": "env_wrapper is missing; copy it from",
    f"PonNoFrameskip-v4: {GOOD}\natari: {GOOD}\n": "did you mean PongNoFrameskip-v4?",
    "atari: !!python/object/apply:os.system ['true']\n": "could not determine a constructor",
}


@pytest.mark.parametrize("text", FILES)
def test_a_broken_file_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError) as error:
        load_recipe(written(tmp_path, text), PONG)
    assert FILES[text] in str(error.value)
    assert "\n" not in str(error.value)


PAIRS = {
    "{n_steps: 3, optimize_memory_usage: true}": "n_steps above 1 needs optimize_memory_usage",
    "{n_envs: 2, train_freq: [1, episode]}": "train_freq in episodes needs n_envs: 1",
}


@pytest.mark.parametrize("pair", PAIRS)
def test_values_that_do_not_go_together_are_refused(tmp_path: Path, pair: str) -> None:
    text = f"atari: &a {GOOD}\nPongNoFrameskip-v4: {{<<: *a, {pair[1:]}\n"
    with pytest.raises(UserError) as error:
        load_recipe(written(tmp_path, text), PONG)
    assert PAIRS[pair] in str(error.value)


def test_a_misspelt_ending_of_a_game_is_seen_too(tmp_path: Path) -> None:
    text = f"PongNoFrameskp-v4: {GOOD}\natari: {GOOD}\n"
    with pytest.raises(UserError, match="did you mean PongNoFrameskip-v4"):
        load_recipe(written(tmp_path, text), PONG)


def test_an_unknown_recipe_names_the_closest() -> None:
    with pytest.raises(UserError, match="did you mean dqn-rmsprop"):
        load_recipe("dqn-rmspro", PONG)


def test_a_recipe_of_another_algorithm_is_refused() -> None:
    file = importlib.resources.files("rl_zoo3") / "hyperparams" / "ppo.yml"
    with pytest.raises(UserError, match="is a recipe for ppo; this project trains dqn"):
        load_recipe(str(file), PONG)
