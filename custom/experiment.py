"""One training run: recipe → environments, model, callbacks, run folder.

A thin subclass of the zoo's `ExperimentManager`. It takes a checked recipe instead of evaluating
strings, claims its run folder so that two runs never share one, and puts in the callbacks of this
project.
"""

from __future__ import annotations

from argparse import Namespace
from collections import OrderedDict
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import torch as th
from gymnasium import spaces
from rl_zoo3.exp_manager import ExperimentManager
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from custom import register
from custom.agents import save_agent
from custom.atomic import atomic_file, write_json
from custom.callbacks import Checkpoints, GameRecord, StopRequest
from custom.clock import Clock
from custom.envs import frame_skip, training_games
from custom.errors import UserError
from custom.evaluation import Protocol
from custom.evaluation_callback import FixedEpsilonEvaluation
from custom.memory import check_replay, replay_size
from custom.progress import Progress
from custom.provenance import provenance
from custom.recipe.classes import resolve
from custom.recipe.games import Game
from custom.recipe.recipe import Recipe
from custom.runs import Run, claim_folder
from custom.saved_state import StateSaver, can_be_saved
from custom.settings import Settings
from custom.tracking.callback import Tracker


class Experiment(ExperimentManager):
    """Trains a recipe on a game.

    :param recipe: with its budget resolved
    :param resumed: a run that is gone on with, and its lock; None: a new one
    :raises UserError: the engine cannot play the recipe, the replay does not fit into memory, or
        `logs` cannot be written
    """

    def __init__(
        self,
        recipe: Recipe,
        game: Game,
        settings: Settings,
        resumed: tuple[Run, IO[str]] | None = None,
    ) -> None:
        self.recipe = recipe = settings.engine.resolve(recipe)
        self.game = game
        self.settings = settings.resolved(recipe.n_timesteps)
        self.stop = StopRequest()
        self.clock = Clock()
        register()
        if settings.engine.threads:
            th.set_num_threads(settings.engine.threads)
        logs = settings.logs / recipe.name
        super().__init__(
            args=self._zoo_args(logs),
            algo=recipe.algo,
            env_id=game.env_id,
            log_folder=str(logs),
            n_timesteps=recipe.n_timesteps,
            env_kwargs=game.env_kwargs | recipe.hyperparams.env_kwargs.given,
            seed=settings.seed,
            device=settings.device,
            log_interval=-1,  # the algorithm's own
            verbose=0,
        )
        self.protocol = Protocol(
            episodes=settings.eval_episodes, epsilon=settings.eval_epsilon, seed=settings.seed
        )
        self.resumed = resumed
        self.folder: Path | None = None
        self.run: Run | None = None
        self.saver: StateSaver | None = None
        self.tracker: Tracker | None = None
        self.evaluation: FixedEpsilonEvaluation | None = None
        self.lock: IO[str] | None = None

    def _zoo_args(self, logs: Path) -> Namespace:
        """What the zoo's commands read from args.yml."""
        return Namespace(
            algo=self.recipe.algo,
            conf_file=str(self.recipe.file),
            device=self.settings.device,
            env=self.game.env_id,
            env_kwargs=(self.game.env_kwargs | self.recipe.hyperparams.env_kwargs.given) or None,
            eval_episodes=self.settings.eval_episodes,
            eval_freq=self.settings.eval_freq,
            hyperparams=None,
            log_folder=str(logs),
            n_timesteps=self.recipe.n_timesteps,
            save_freq=self.settings.save_freq,
            seed=self.settings.seed,
        )

    def read_hyperparameters(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The checked recipe: once to be consumed, once to be saved."""
        values = self.recipe.hyperparams.given
        return resolve(self.recipe.hyperparams), OrderedDict(sorted(values.items()))

    def _preprocess_hyperparams(self, hyperparams: dict[str, Any]) -> Any:
        """The replay is no larger than what the run fills."""
        hyperparams["buffer_size"] = replay_size(self.recipe.hyperparams)
        hyperparams.pop("env_kwargs", None)
        arguments, *others = super()._preprocess_hyperparams(hyperparams)
        arguments["engine"] = self.settings.engine
        return arguments, *others

    def create_envs(self, n_envs: int, eval_env: bool = False, no_log: bool = False) -> VecEnv:
        """The training's games."""
        return training_games(
            self.game,
            self.recipe.hyperparams,
            n_envs,
            self.settings.seed,
            self.settings.engine.workers,
            monitor_dir=None if no_log else self.save_path,
            monitor_kwargs=self.monitor_kwargs,
        )

    def create_log_folder(self) -> None:
        """Check the memory, then claim a folder and write down what is run."""
        self._check_memory()
        if self.resumed is None:
            self.folder = claim_folder(Path(self.log_path), self.game.folder_name)
            folder = self.folder
        else:
            self.run, self.lock = self.resumed
            folder = self.run.path
            self.monitor_kwargs["override_existing"] = False
        self.save_path = str(folder)
        self.params_path = str(folder / self.game.folder_name)
        self.tensorboard_log = str(folder / "tensorboard")
        if self.resumed is not None:
            return
        Path(self.params_path).mkdir()
        with atomic_file(folder / "recipe.yml", "w") as file:
            file.write(self.recipe.to_yaml(self.game.env_id))
        self.run = Run(folder, self._facts())
        self.lock = self.run.lock()
        write_json(folder / "run.json", self.run.facts)

    def _save_config(self, saved_hyperparams: dict[str, Any]) -> None:
        if self.resumed is None:  # else it is there
            super()._save_config(saved_hyperparams)

    def _check_memory(self) -> None:
        env = self.create_envs(1, no_log=True)
        space = env.observation_space
        env.close()
        assert isinstance(space, spaces.Box)
        engine, values = self.settings.engine, self.recipe.hyperparams
        frames = engine.buffer == "frames"
        if self.settings.save_state and not can_be_saved(engine, values.replay_buffer_class):
            raise UserError(
                "--save-state needs BUFFER=frames and a recipe without replay_buffer_class"
            )
        check_replay(space, values, self.recipe.file, frames, self.device, engine.storage)

    def _facts(self) -> dict[str, Any]:
        return {
            "game": self.game.name,
            "env_id": self.game.env_id,
            "recipe": self.recipe.name,
            "recipe_digest": self.recipe.digest,
            "algo": self.recipe.algo,
            "seed": self.settings.seed,
            "n_timesteps": self.recipe.n_timesteps,
            "exploration_steps": self.recipe.exploration_steps,
            "notes": list(self.recipe.notes),
            "engine": asdict(self.settings.engine) | {"threads": th.get_num_threads()},
            "frame_skip": frame_skip(self.recipe.hyperparams),
            "eval_freq": self.settings.eval_freq,
            "save_freq": self.settings.save_freq,
            "keep_checkpoints": self.settings.keep_checkpoints,
            "eval_protocol": self.protocol.describe(self.game, self.recipe.hyperparams),
            "steps": 0,
            "state": "running",
            **provenance(),
        }

    def create_callbacks(self) -> None:
        """The project's, instead of the zoo's that evaluate at the training's epsilon."""
        assert self.run is not None
        settings, protocol = self.settings, self.protocol
        record = GameRecord(self.run.path, self.run.facts["frame_skip"])
        self.evaluation = evaluation = FixedEpsilonEvaluation(
            self.run, settings.eval_freq, protocol, lambda: self.stop.requested, self.clock
        )
        self.callbacks += [
            self.stop,
            record,
            evaluation,
            Checkpoints(self.run, settings.save_freq, settings.keep_checkpoints),
            Progress(self.n_timesteps, lambda: list(record.last_scores), evaluation),
        ]
        if settings.save_state:
            how = settings.save_freq, self.stop, lambda: evaluation.was_broken_off, self.clock
            self.saver = StateSaver(self.run, *how)
            self.callbacks.append(self.saver)
        if settings.tracking.is_on:
            self.tracker = Tracker(
                self.run, settings.tracking, protocol, lambda: self.stop.requested
            )
            self.callbacks.append(self.tracker)

    def save_trained_model(self, model: BaseAlgorithm) -> None:
        """Save the agent whole or not at all."""
        assert self.run is not None
        save_agent(model, self.run.final_model)
