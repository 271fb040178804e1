"""Recipes: YAML files of hyperparameters, one entry a game, in the zoo's own format.

A file holds an `atari` entry for every game and, where a game differs, an entry under its
environment id. One entry is taken whole, as the zoo does; YAML's ``<<: *atari`` fills it. A file
with ``extends: NAME`` holds differences to the recipe of that name; null removes a key.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from custom.recipe.check import check
from custom.recipe.entries import find_recipe, read_entry, recipe_name
from custom.recipe.games import Game
from custom.recipe.model import DQNHyperparams, Hyperparams
from custom.system.errors import UserError

WARM_UP_SHARE = 10  # a budget of your own: the warm-up takes a tenth of it at most


@dataclass(frozen=True)
class Recipe:
    """What is learnt and how, for one game.

    :param name: the file's name without its ending; also the folder of the runs
    :param algo: the algorithm's name in the zoo, e.g. ``dqn``
    :param file: where it was read
    :param hyperparams: with `n_timesteps` in steps
    :param notes: what was changed to fit the budget, a line each
    :param digest: of the values in the file but `n_timesteps`, whatever budget followed
    """

    name: str
    algo: str
    file: Path
    hyperparams: Hyperparams
    notes: tuple[str, ...] = ()
    digest: str = ""

    def __post_init__(self) -> None:
        if not self.digest:
            values = self.hyperparams.model_dump(exclude={"n_timesteps"})
            text = json.dumps([self.algo, values], sort_keys=True)
            object.__setattr__(self, "digest", hashlib.sha256(text.encode()).hexdigest()[:8])

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

    def with_budget(self, n_timesteps: int | None) -> Recipe:
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
                notes.append(f"exploration: {before:,} lengthened to {least:,} steps, twice that")
        (every, unit), most = values.period, max(budget // values.n_envs, 1)
        if every > most and unit == "step":
            values = values.replace(train_freq=most)
            notes.append(f"train_freq: {every:,} shortened to {most:,} steps, the whole budget")
        return replace(self, hyperparams=values, notes=tuple(notes))

    def with_envs(self, n_envs: int) -> Recipe:
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


def load_recipe(text: str, game: Game, classes: bool = True) -> Recipe:
    """Read and check the entry of a recipe that serves a game.

    :param text: a name in hyperparams/, or the path of a YAML file
    :param classes: also those that it names and their arguments, which takes PyTorch's import
    :raises UserError: no such recipe, or all that is wrong in it, a line each
    """
    file = find_recipe(text)
    try:
        key, algo, entry = read_entry(file, game)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from None
    try:
        values = check(entry, algo)
        if classes:
            from custom.recipe.classes import resolve

            resolve(values)
    except ValueError as error:
        raise refusal(file, key, error) from None
    return Recipe(recipe_name(str(file)), algo, file, values)


def refusal(file: Path, key: str, error: ValueError) -> UserError:
    """What is wrong with an entry: file, game, key, value and what to write, a line each."""
    return UserError("\n".join(f"{file}: {key}: {line}" for line in str(error).splitlines()))


def differences(recipe: Hyperparams, run: Hyperparams) -> list[str]:
    """Values of a run that a recipe does not have, e.g. ``gamma 0.9 instead of 0.99``."""
    ours, theirs = recipe.model_dump(), run.model_dump()
    names = sorted(theirs.keys() - {"n_timesteps"})
    pairs = [(name, theirs[name], ours.get(name)) for name in names]
    return [f"{name} {its} instead of {own}" for name, its, own in pairs if its != own]
