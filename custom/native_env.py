"""Atari games as one SB3 `VecEnv` over ale_py's C++ vector environment.

What is seen, rewarded and ended is as in a `DummyVecEnv` of `DeepMindAtariWrapper` with
`VecFrameStack` and `VecTransposeImage`. Lives and clipping are handled here, because the library's
`episodic_life` resets the whole game and its `reward_clipping` forgets the score. What differs:

- a game starts after 0 to ``noop_max - 1`` no-ops, drawn by the library (SB3: 1 to ``noop_max``);
  what they score is not in ``info["episode"]["r"]``;
- the newest frame of `terminal_observation` where a game has ended is up to two frames old: the
  library takes no picture of a game's last frame, and nothing is learnt from it;
- the limit of frames is looked at after a step, not within it: with no-ops before, a game may last
  up to ``frame_skip - 1`` frames more;
- `reset` starts new games; SB3's goes on with a game in which only a life is over;
- ``pixels="grey"``: the library makes screens grey before the maximum of two, by its own table.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import ale_py
import numpy as np
from ale_py import roms
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from custom.games import FULL_ACTION_ROMS, MAX_FRAMES, STICKY_PROBABILITY, Game
from custom.stacks import FrameStacks
from custom.wrappers import action_numbers

Array = np.ndarray
Infos = list[dict[str, Any]]


class AtariVectorEnv(VecEnv):
    """Games that are emulated in threads, without the interpreter's lock.

    Observations: (n_envs, frame_stack, screen_size, screen_size) uint8, the newest frame last. Each
    is a new array, safe to keep; do not write into the latest, as the next one is made of it.

    :param game: from `custom.games.find_game`
    :param n_envs: games in parallel
    :param seed: game ``i`` has ``seed + i``; None for one drawn from NumPy's global generator
    :param frame_stack: frames in an observation; those before a start or a lost life are 0
    :param screen_size: width and height in pixels, grey
    :param frame_skip: frames per step; a step shows the maximum of its last two
    :param noop_max: a game starts after fewer no-ops than this; 0 and 1 mean none
    :param terminal_on_life_loss: end the episode, not the game, with each life
    :param clip_reward: the sign of the reward
    :param pixels: ``exact`` for those of SB3's wrappers, ``grey`` for the library's, faster
    :param num_threads: for the emulators, and for OpenCV; 0 for one per core, at most ``n_envs``
    :param max_frames: truncates a game, counted as the emulator does (with no-ops and menus)
    :param actions: names of those that there are, in their order; default: all of the game's
    :param render_mode: None or ``rgb_array``
    :raises ValueError: a setting that is out of its range
    """

    def __init__(
        self,
        game: Game,
        n_envs: int,
        seed: int | None = None,
        *,
        frame_stack: int = 4,
        screen_size: int = 84,
        frame_skip: int = 4,
        noop_max: int = 30,
        terminal_on_life_loss: bool = True,
        clip_reward: bool = True,
        pixels: str = "exact",
        num_threads: int = 0,
        max_frames: int = MAX_FRAMES,
        actions: list[str] | None = None,
        render_mode: str | None = None,
    ) -> None:
        if pixels not in ("exact", "grey") or render_mode not in (None, "rgb_array"):
            raise ValueError(f"{pixels=} must be exact or grey, {render_mode=} None or rgb_array")
        least = min(n_envs, frame_stack, screen_size, frame_skip, max_frames)
        if least < 1 or min(noop_max, num_threads) < 0:
            sizes = f"{n_envs=}, {frame_stack=}, {screen_size=}, {frame_skip=} and {max_frames=}"
            raise ValueError(f"{sizes} must be at least 1, {noop_max=} and {num_threads=} 0")
        self.terminal_on_life_loss, self.clip_reward = terminal_on_life_loss, clip_reward
        self.max_frames, self.render_mode, self._exact = max_frames, render_mode, pixels == "exact"
        threads = num_threads or min(cores(), n_envs)
        skip = {"frameskip": frame_skip, "maxpool": frame_skip > 1, "noop_max": noop_max}
        self._ale = self._load(game, n_envs, screen_size, num_threads=threads, **skip)
        names = self.get_action_meanings()
        self._numbers = np.array(action_numbers(names, actions or names))  # those of the emulator
        self._n_actions = len(self._numbers)
        box = spaces.Box(0, 255, (frame_stack, screen_size, screen_size), np.uint8)
        super().__init__(n_envs, box, spaces.Discrete(self._n_actions))
        self.metadata["render_fps"] = 60 / frame_skip  # type: ignore[assignment]  # not all lists
        shape = (n_envs, frame_stack, screen_size, screen_size)
        self._stacks = FrameStacks(shape, self._screen, self._exact, threads)
        self.while_emulating: Callable[[], None] | None = None  # called while games go on
        self._scores, self._start, self._pending = np.zeros(n_envs), time.time(), False
        self.seed(seed)

    def _load(self, game: Game, n_envs: int, size: int, **settings: Any) -> Any:
        one = ale_py.ALEInterface()
        one.loadROM(roms.get_rom_path(game.rom))  # type: ignore[arg-type]  # a game has a ROM
        one.reset_game()
        self._menu_frames = one.getEpisodeFrameNumber()  # before a game; they vary in Double Dunk
        height, width = one.getScreenDims() if self._exact else (size, size)
        self._screen = (height, width)
        return ale_py.AtariVectorEnv(
            game.rom,
            n_envs,
            max_num_frames_per_episode=2**31 - 2,  # none: its own does not count no-ops
            repeat_action_probability=STICKY_PROBABILITY if game.sticky else 0.0,
            full_action_space=game.rom in FULL_ACTION_ROMS,
            autoreset_mode="SameStep",
            img_height=height,
            img_width=width,
            grayscale=not self._exact,
            stack_num=1,
            reward_clipping=False,
            use_fire_reset=False,
            **settings,
        ).ale

    def reset(self) -> Array:
        """Start new games, with the seeds that `seed` has left; a step under way is given up."""
        if self._pending:
            self._ale.recv()
        self._pending, games = False, np.arange(self.num_envs)
        seeds = np.array([-1 if seed is None else emulator_seed(seed) for seed in self._seeds])
        self._screens, self._facts = self._ale.reset(games, seeds)
        self._reset_seeds()
        self._reset_options()
        self._scores[:] = 0
        return self._stacks.start(self._screens)

    def step_async(self, actions: Array) -> None:
        """Let the games go on in their threads, and return at once.

        :param actions: (n_envs,) integers
        :raises ValueError: of another shape or type, or out of range; nothing has been sent
        :raises RuntimeError: before `reset`, after `close`, or while a step is under way
        """
        if self._pending or self._ale is None:
            raise RuntimeError("the environment is closed, or step_wait has not been called")
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or actions.dtype.kind not in "iu":
            found = f"{actions.dtype} {actions.shape}"
            raise ValueError(f"actions are {found}; they must be integers ({self.num_envs},)")
        chosen = actions.tolist()  # takes the library less than half as long as an array
        if min(chosen) < 0 or max(chosen) >= self._n_actions:  # it would hang for ever
            raise ValueError(f"actions are {chosen}; each must be 0 to {self._n_actions - 1}")
        self._ale.send(self._numbers[actions].tolist(), [1.0] * self.num_envs)
        self._pending = True

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the games and look at them.

        :return: observations, rewards (n_envs,) float32, dones (n_envs,) and infos: ``lives``,
            ``TimeLimit.truncated``; where done, ``terminal_observation``; where a game is over,
            ``episode`` as of a `Monitor` below the wrappers, in points, frames and seconds
        """
        if not self._pending:
            raise RuntimeError("no step is under way: call step_async first")
        if self.while_emulating is not None:
            self.while_emulating()
        self._pending, before = False, self._facts
        self._screens, rewards, terminated, _, self._facts = self._ale.recv()
        over = terminated | (self._facts["episode_frame_number"] >= self.max_frames)
        lives = self._facts["lives"]
        lost = (lives < before["lives"]) & self.terminal_on_life_loss
        infos: Infos = [{"lives": left, "TimeLimit.truncated": False} for left in lives.tolist()]
        self._scores += rewards
        last, dones = self._screens, over | lost
        if over.any():
            for i in np.flatnonzero(over & ~terminated & ~lost):
                infos[i]["TimeLimit.truncated"] = True
            last = self._end_games(terminated, over, before, infos)
        observations = self._stacks.push(last)
        for i in np.flatnonzero(dones).tolist():
            infos[i]["terminal_observation"] = self._stacks.end(i)
        self._stacks.draw(np.flatnonzero(over), self._screens)
        rewards = np.sign(rewards) if self.clip_reward else rewards
        return observations, rewards.astype(np.float32), dones, infos

    def _end_games(self, terminated: Array, over: Array, before: Any, infos: Infos) -> Array:
        """Report the games that are over, start new ones, and return the screens before that."""
        clock, total = self._facts["episode_frame_number"], self._facts["frame_number"]
        frames = total - before["frame_number"] - clock * terminated  # of this step
        lengths = before["episode_frame_number"] + frames - self._menu_frames
        seconds = round(time.time() - self._start, 6)
        for i in np.flatnonzero(over):
            infos[i]["episode"] = {"r": float(self._scores[i]), "l": int(lengths[i]), "t": seconds}
            infos[i]["lives"] *= int(not terminated[i])  # the library tells those of the next game
        self._scores[over] = 0
        last: Array = self._screens.copy()
        last[terminated] = self._facts.get("final_obs", last)[terminated]
        late = np.flatnonzero(over & ~terminated)
        if len(late):
            self._screens, self._facts = self._ale.reset(late, np.full(len(late), -1))
        return last

    def get_action_meanings(self) -> list[str]:
        """Names of all the game's actions, e.g. ``["NOOP", "FIRE", …]``."""
        return [ale_py.Action(number).name for number in self._ale.get_action_set()]

    def get_images(self) -> list[Array | None]:
        """The screens of the last step, (height, width, 3); grey ones where pixels are grey."""
        size = (*self._screen, 3)
        return [np.broadcast_to(s.reshape(*size[:2], -1), size) for s in self._screens]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of this environment, once for each of the games."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of this environment, and so of all its games."""
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kw: Any) -> list[Any]:
        """Call a method of this environment, once for each of the games."""
        return [getattr(self, method_name)(*args, **kw) for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: Any, indices: VecEnvIndices = None) -> list[bool]:
        """True for `Monitor`, as ``info["episode"]`` has the scores of full games."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def close(self) -> None:
        """End the threads; a second time, nothing happens."""
        self._ale = None
        self._stacks.close()


def emulator_seed(seed: int) -> int:
    """That of the emulator in `ale_py.AtariEnv` for the same seed, but for its sign: 31 bits."""
    return int(np.random.SeedSequence(seed).generate_state(2)[1]) % 2**31


def cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux
    return len(affinity(0)) if affinity else os.cpu_count() or 1
