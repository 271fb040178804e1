"""Recipes: YAML files of hyperparameters, one entry a game, in the zoo's own format.

A file holds an `atari` entry for every game and, where a game differs, one under its environment
id, which is taken whole, as the zoo does; YAML's ``<<: *atari`` fills it. A file with ``extends:
NAME`` holds differences to the recipe of that name; null removes a key.

``dqn+n_steps=3+policy_kwargs.dueling=true`` is the recipe `dqn` with these values, and the name of
its runs.
"""

import copy
import difflib
import hashlib
import json
import math
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from custom.recipe.check import check
from custom.recipe.games import V4_SUFFIX, Game, find_game
from custom.recipe.model import ALGORITHMS, DQNHyperparams, Hyperparams
from custom.recipe.yaml_text import read_yaml
from custom.system.errors import UserError

FOLDER = Path(__file__).resolve().parents[2] / "hyperparams"
OURS = " or ".join(ALGORITHMS)
ZOOS = {"dqn", "qrdqn", "a2c", "ars", "crossq", "ddpg", "her", "ppo", "sac", "td3", "tqc", "trpo"}
CHANGE = re.compile(r"\+(?=[A-Za-z_][\w.]*=)")  # what separates one from the next
WARM_UP_SHARE = 10  # a budget of your own: the warm-up takes a tenth of it at most


@dataclass(frozen=True)
class Recipe:
    """What is learnt and how, for one game.

    :param name: the file's name without its ending; also the folder of the runs
    :param algo: the algorithm's name in the zoo, e.g. ``dqn``
    :param file: where it was read
    :param hyperparams: with `n_timesteps` in steps
    :param notes: what was changed to fit the budget, a line each
    :param changes: what follows the file's name, e.g. ``+n_steps=3``
    :param digest: of the values in the file but `n_timesteps`, whatever budget followed
    """

    name: str
    algo: str
    file: Path
    hyperparams: Hyperparams
    notes: tuple[str, ...] = ()
    changes: str = ""
    digest: str = ""

    @property
    def n_timesteps(self) -> int:
        """The run's budget in steps."""
        return self.hyperparams.n_timesteps

    @property
    def exploration_steps(self) -> int:
        """Steps until epsilon reaches its final value: a fraction of the budget, from step 0.

        Where it decays exponentially: until it is 0.01 above that value.
        """
        values = self.hyperparams
        above = abs(values.exploration_initial_eps - values.exploration_final_eps)
        if above == 0:
            return 0
        if isinstance(values, DQNHyperparams) and values.exploration_decay:
            return max(round(math.log(max(above, 0.01) / 0.01) / values.exploration_decay), 0)
        return round(values.exploration_fraction * self.n_timesteps)

    def with_budget(self, n_timesteps: int | None) -> "Recipe":
        """The recipe for a run of so many steps (None: the recipe's own).

        Another budget than the file's shortens a warm-up longer than a tenth of it, and lengthens
        the decay of epsilon to twice the warm-up: it would be over before learning begins. A
        period of updates longer than the budget becomes the budget.
        """
        values, notes, budget = self.hyperparams, [], n_timesteps or self.n_timesteps
        if budget != self.n_timesteps:
            values = values.replace(n_timesteps=budget)
            asked, longest = values.learning_starts, budget // WARM_UP_SHARE
            if asked > longest:
                values = values.replace(learning_starts=longest)
                share = f"a tenth of the budget of {budget:,} steps"
                notes.append(f"learning_starts: {asked:,} shortened to {longest:,} steps, {share}")
            before = replace(self, hyperparams=values).exploration_steps
            least = 2 * min(asked, longest)
            if 0 < before < least and not getattr(values, "exploration_decay", 0):
                values = values.replace(exploration_fraction=least / budget)
                notes.append(
                    f"exploration: {before:,} lengthened to {least:,} steps, twice the warm-up"
                )
        (every, unit), most = values.period, max(budget // values.n_envs, 1)
        if every > most and unit == "step":
            values = values.replace(train_freq=most)
            notes.append(f"train_freq: {every:,} shortened to {most:,} steps, the whole budget")
        return replace(self, hyperparams=values, notes=tuple(notes))

    def with_envs(self, n_envs: int) -> "Recipe":
        """The recipe for other games at once, at as many updates per step, with a note.

        `train_freq` counts steps of each game. The smallest is taken at which a whole number of
        updates is due, so that updates come as evenly as they can.

        :raises ValueError: `train_freq` is in episodes
        """
        values, (every, unit) = self.hyperparams, self.hyperparams.period
        if unit != "step":
            raise ValueError("several games need train_freq in steps, not in episodes")
        updates = values.gradient_steps
        if updates > 0:  # below 0: as many as steps, however many there are
            steps = every * values.n_envs  # in which the recipe makes its updates
            freq = next(f for f in range(1, steps + 1) if updates * f * n_envs % steps == 0)
            every, updates = freq, updates * freq * n_envs // steps
        same = (
            f"gradient_steps {updates} after train_freq {every} keep the recipe's updates per step"
        )
        values = values.replace(n_envs=n_envs, train_freq=every, gradient_steps=updates)
        notes = (*self.notes, f"environments: {n_envs}; {same}")
        return replace(self, hyperparams=values, notes=notes)

    def to_yaml(self, env_id: str) -> str:
        """The recipe as a file that can be given as RECIPE again."""
        ends = f"exploration ends after {self.exploration_steps:,} steps"
        header = f"# {self.name} as it ran; {ends}. Unit: steps.\n"
        header += "".join(f"# {note}\n" for note in self.notes)
        entry = {"algo": self.algo, **self.hyperparams.given}
        return header + yaml.safe_dump({env_id: entry}, sort_keys=True)


def split_changes(text: str) -> tuple[str, str]:
    """A recipe's name or path, and what follows it: ``+key=value`` for each change."""
    file = re.match(r".*\.ya?ml(?=\+|$)", text)  # its folders may have such names, too
    base = file[0] if file else CHANGE.split(text, maxsplit=1)[0]
    return base, text[len(base) :]


def changed(entry: dict[str, Any], changes: str) -> dict[str, Any]:
    """An entry with other values; a dotted key is one of an inner dictionary."""
    changed = copy.deepcopy(entry)
    for change in CHANGE.split(changes)[1:]:
        path, _, text = change.partition("=")
        *outer, key = path.split(".")
        inner = changed
        for name in outer:
            inner[name] = inner.get(name) or {}
            inner = inner[name]
            if not isinstance(inner, dict):
                raise ValueError(f"{path}: {name} is {inner!r}, which has no {key}")
        inner[key] = read_yaml(text.encode(), f"{path}={text}")
    return changed


def recipe_name(text: str) -> str:
    """The name under which runs of a recipe lie: its file's without the ending, and the changes."""
    base, changes = split_changes(text)
    name = re.sub(r"\.ya?ml$", "", Path(base).name) + changes[:150]
    return re.sub(r"[^\w.,=+-]", "_", name)


def find_recipe(text: str) -> Path:
    """The file of a recipe.

    :raises UserError: there is none
    """
    text, _ = split_changes(text)
    named, path = {file.stem: file for file in sorted(FOLDER.glob("*.yml"))}, Path(text)
    if text in named:
        return named[text]
    if path.suffix in (".yml", ".yaml") and path.is_file():
        return path
    close = difflib.get_close_matches(text, named, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]}? " if close else ""
    known = f"write one of {', '.join(named)}, or the path of a .yml file"
    raise UserError(f"RECIPE {text!r} is unknown: {hint}{known}")


def sources(file: Path) -> list[Path]:
    """The files that make a recipe: its own, and the one that it extends.

    That is the recipe of the name beside it, or else one of this project's.

    :raises ValueError: there is none of the name, or it extends another one itself
    """
    entries = _read(file)
    if "extends" not in entries:
        return [file]
    name, paths = str(entries["extends"]), [*FOLDER.glob("*.yml"), *file.parent.glob("*.y*ml")]
    others = {path.stem: path for path in paths if path.resolve() != file.resolve()}
    if name not in others:
        known = ", ".join(sorted(others))
        raise ValueError(f"extends is {name!r}; write the name of a recipe, one of {known}")
    if "extends" in _read(others[name]):
        raise ValueError(
            f"extends {name}, which extends another recipe; extend that one and copy the values"
        )
    return [file, others[name]]


def read_entry(file: Path, game: Game) -> tuple[str, str, dict[str, Any]]:
    """Key, algorithm and values of a game's entry, filled from the recipe that it extends.

    :raises UserError: the file cannot be read
    :raises ValueError: it has no such entry, or its algorithm is in doubt
    """
    file, *parents = sources(file)
    algo, values = "qrdqn" if re.match(r"qrdqn(-|$)", file.stem) else "dqn", dict[str, Any]()
    for parent in parents:
        try:
            _, algo, values = read_entry(parent, game)
        except ValueError as error:
            raise ValueError(f"extends {parent}: {error}") from None
    entries = {key: entry for key, entry in _read(file).items() if key != "extends"}
    keys = _keys(entries, game)
    for key in keys if parents else keys[-1:]:  # without `extends` one entry is taken whole
        if not isinstance(entries[key], dict):
            raise ValueError(f"{key}: has no values; write 'key: value' lines below it")
        values |= entries[key]
    words = {word.rstrip("0123456789") for word in re.split("[^a-z0-9]+", file.stem.lower())}
    if "algo" not in values and (others := sorted(words & ZOOS - {algo})):
        raise ValueError(f"{keys[-1]}: the file's name says {others[0]}; write algo: {OURS}")
    algo = values.pop("algo", algo)
    if algo not in list(ALGORITHMS):
        raise ValueError(f"{keys[-1]}: algo is {algo!r}; write {OURS}")
    return keys[-1], algo, values


def _keys(entries: dict[str, Any], game: Game) -> list[str]:
    """Keys of the entries that serve a game, the most special one last."""
    named: dict[str, str] = {}
    for key in entries:
        with suppress(UserError):  # no game
            named.setdefault(find_game(key).env_id, key)
    v4 = f"{game.name}{V4_SUFFIX}"
    special = [named[name] for name in dict.fromkeys((v4, game.env_id)) if name in named]
    others = [] if special else entries.keys() - {"atari", *named.values()}
    for key in difflib.get_close_matches(v4, others, n=1, cutoff=0.8):
        # It would silently be played with the values of `atari`.
        raise ValueError(f"{key} is no environment; did you mean {v4}?")
    keys = ["atari", *special] if "atari" in entries else special
    if not keys:
        there = ", ".join(list(entries)[:5])
        raise ValueError(f"no entry for {game.env_id}, but for {there}; write '{v4}:' or 'atari:'")
    return keys


def _read(file: Path) -> dict[str, Any]:
    content = read_yaml(file.read_bytes(), str(file))
    if not isinstance(content, dict) or not content:
        raise ValueError("holds no games; write an 'atari:' entry, as hyperparams/dqn.yml")
    if "policy" in content and "atari" not in content:
        raise ValueError(
            "holds the values of one run, not of games (a config.yml?); give the recipe.yml of the"
            " run folder, or write 'atari:' above the values"
        )
    return content


def load_recipe(text: str, game: Game, classes: bool = True) -> "Recipe":
    """Read and check the entry of a recipe that serves a game.

    :param text: a name in hyperparams/, or the path of a YAML file; with changes behind it
    :param classes: also those that it names and their arguments, which takes PyTorch's import
    :raises UserError: no such recipe, or all that is wrong in it: file and changes, entry, key,
        value and what to write, a line each
    """
    file, (_, changes) = find_recipe(text), split_changes(text)
    source = f"{file}{changes}"
    try:
        key, algo, entry = read_entry(file, game)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from None
    try:
        values = check(changed(entry, changes), algo)
        if classes:
            from custom.recipe.classes import resolve

            resolve(values)
    except ValueError as error:
        lines = str(error).splitlines()
        raise UserError("\n".join(f"{source}: {key}: {line}" for line in lines)) from None
    said = json.dumps([algo, values.model_dump(exclude={"n_timesteps"})], sort_keys=True).encode()
    name, digest = recipe_name(source), hashlib.sha256(said).hexdigest()[:8]
    return Recipe(name, algo, file, values, (), changes, digest)


def differences(recipe: Hyperparams, run: Hyperparams) -> str:
    """Values of a run that a recipe does not have, e.g. ``gamma 0.9 instead of 0.99``."""
    ours, theirs = recipe.model_dump(exclude={"n_timesteps"}), run.model_dump()
    pairs = [(name, theirs.get(name), ours[name]) for name in sorted(ours)]
    return ", ".join(f"{name} {its} instead of {own}" for name, its, own in pairs if its != own)
