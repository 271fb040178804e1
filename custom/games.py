"""Names of games: what a user writes, the environment id that is made of it, and its ROM.

`SpaceInvaders`, `space_invaders` and `SpaceInvadersNoFrameskip-v4` mean the deterministic game,
`ALE/SpaceInvaders-v5` means the same with sticky actions (Machado et al. 2018,
https://arxiv.org/abs/1709.06009). The environment itself never skips a frame, because the recipe's
wrapper does.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import Any

import ale_py
import gymnasium as gym
from ale_py import roms

from custom.errors import UserError

# The emulator has no single-player mode for these: loading one ends the process.
MULTIPLAYER_ROMS = frozenset({"combat", "joust", "maze_craze", "warlords"})
# Their minimal action set has no NOOP, which the no-op start needs; the full set has.
FULL_ACTION_ROMS = frozenset({"backgammon", "video_checkers"})
MAX_FRAMES = 108_000  # 30 minutes of play at 60 frames a second
STICKY_PROBABILITY = 0.25
V4_SUFFIX = "NoFrameskip-v4"
OWN_IDS: set[str] = set()  # that this project registers, and nobody else knows


@dataclass(frozen=True)
class Game:
    """A game, as Gymnasium makes it.

    :param name: e.g. ``SpaceInvaders``
    :param rom: ale_py's name of the ROM, e.g. ``space_invaders``
    :param env_id: registered id, e.g. ``SpaceInvadersNoFrameskip-v4``
    :param env_kwargs: arguments for the constructor of the environment
    """

    name: str
    rom: str
    env_id: str
    env_kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def sticky(self) -> bool:
        """Whether the emulator repeats the last action with probability 0.25 in each frame."""
        return self.env_id.endswith("-v5")

    @property
    def folder_name(self) -> str:
        """The environment id as part of a file name, as the zoo writes it."""
        return self.env_id.replace("/", "-")

    def explain(self) -> str:
        """One line that says which version of the game is played."""
        if self.sticky:
            return f"{self.env_id}: sticky actions ({STICKY_PROBABILITY}); {self.name} has none"
        return f"{self.env_id}: no sticky actions; ALE/{self.name}-v5 has them"


def all_games() -> dict[str, str]:
    """Name → ROM of every game that one player can play, e.g. ``SpaceInvaders``."""
    playable = sorted(set(roms.get_all_rom_ids()) - MULTIPLAYER_ROMS)
    return {rom.title().replace("_", ""): rom for rom in playable}


def register_games() -> None:
    """Register ``…NoFrameskip-v4`` for the games that ale_py registers as ``ALE/…-v5`` only."""
    gym.register_envs(ale_py)
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # no banner
    for name, rom in all_games().items():
        if f"{name}{V4_SUFFIX}" not in gym.registry:
            kwargs = {
                "game": rom,
                "repeat_action_probability": 0.0,
                "full_action_space": rom in FULL_ACTION_ROMS,
                "frameskip": 1,
                "max_num_frames_per_episode": MAX_FRAMES,
            }
            gym.register(f"{name}{V4_SUFFIX}", "ale_py.env:AtariEnv", kwargs=kwargs)
            OWN_IDS.add(f"{name}{V4_SUFFIX}")


def find_game(text: str) -> Game:
    """The game that a user means.

    :param text: name, ROM name or environment id
    :raises UserError: unknown game (with the closest names), or an id that skips frames itself
    """
    register_games()
    match = re.fullmatch(
        r"(?P<ale>ALE/)?(?P<name>.+?)(?P<kind>NoFrameskip|Deterministic|-ram|-ramNoFrameskip)?"
        r"(?P<version>-v\d+)?",
        text.strip(),
    )
    name = _closest_name(match["name"], text) if match else _closest_name(text, text)
    assert match is not None
    asked = (match["ale"] or "", match["kind"] or "", match["version"] or "")
    if asked == ("ALE/", "", "-v5"):
        return _sticky(name)
    if asked not in {("", "", ""), ("", "NoFrameskip", "-v4")}:
        raise UserError(
            f"GAME {text!r} is not a version that can be trained (frames would be skipped twice, or"
            f" the screen is missing); write {name}, {name}{V4_SUFFIX} or ALE/{name}-v5"
        )
    return Game(name, all_games()[name], f"{name}{V4_SUFFIX}")


def _sticky(name: str) -> Game:
    rom = all_games()[name]
    kwargs: dict[str, Any] = {"frameskip": 1}
    if rom in FULL_ACTION_ROMS:
        kwargs["full_action_space"] = True
    return Game(name, rom, f"ALE/{name}-v5", kwargs)


def _closest_name(text: str, written: str) -> str:
    names = {_plain(name): name for name in all_games()}
    plain = _plain(text)
    if plain in names:
        return names[plain]
    if plain in {_plain(rom) for rom in MULTIPLAYER_ROMS}:
        raise UserError(f"GAME {written!r} has no single-player mode; choose another game")
    close = difflib.get_close_matches(plain, names, n=3, cutoff=0.5)
    hint = "did you mean " + ", ".join(names[c] for c in close) + "?" if close else ""
    example = hint or f"one of {len(names)}, e.g. SpaceInvaders, Pong, Breakout"
    raise UserError(f"GAME {written!r} is unknown: {example}")


def _plain(text: str) -> str:
    return re.sub(r"[ _-]", "", text).lower()
