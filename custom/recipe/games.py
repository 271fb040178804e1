"""Names of games: what a user writes, and the environment id that is made of it.

`SpaceInvaders`, `space_invaders` and `SpaceInvadersNoFrameskip-v4` mean the deterministic game,
`ALE/SpaceInvaders-v5` means the same with sticky actions (Machado et al. 2018,
https://arxiv.org/abs/1709.06009). The environment itself never skips a frame, because the recipe's
wrapper does. Nothing of ale_py is imported.
"""

import difflib
import re
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from custom.system.errors import UserError

# The emulator has no single-player mode for these: loading one ends the process.
MULTIPLAYER_ROMS = frozenset({"combat", "joust", "maze_craze", "warlords"})
# Their minimal action set has no NOOP, which the no-op start needs; the full set has.
FULL_ACTION_ROMS = frozenset({"backgammon", "video_checkers"})
STICKY_PROBABILITY = 0.25
V4_SUFFIX = "NoFrameskip-v4"


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


@cache
def all_games() -> dict[str, str]:
    """Name → ROM of every game that one player can play, e.g. ``SpaceInvaders``."""
    spec = find_spec("ale_py")
    assert spec is not None
    roms = {path.stem for path in Path(str(spec.origin)).parent.glob("roms/*.bin")}
    return {rom.title().replace("_", ""): rom for rom in sorted(roms - MULTIPLAYER_ROMS)}


def find_game(text: str) -> Game:
    """The game that a user means.

    :param text: name, ROM name or environment id
    :raises UserError: unknown game (with the closest names), or a version that is not trained here
    """
    asked = text.strip()
    sticky = re.fullmatch(r"(?:ale_py:)?ALE[/-](.+)-v5", asked)
    plain = _plain(sticky[1] if sticky else asked.removesuffix(V4_SUFFIX))
    names = {_plain(name): name for name in all_games()}
    if plain not in names:
        close = difflib.get_close_matches(plain, names, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(names[each] for each in close)}? " if close else ""
        raise UserError(
            f"GAME {text!r} is unknown: {hint}write NAME, NAME{V4_SUFFIX} or ALE/NAME-v5"
        )
    name, rom = names[plain], all_games()[names[plain]]
    if not sticky:
        return Game(name, rom, f"{name}{V4_SUFFIX}")
    full = {"full_action_space": True} if rom in FULL_ACTION_ROMS else {}
    return Game(name, rom, f"ALE/{name}-v5", {"frameskip": 1, **full})


def _plain(text: str) -> str:
    return re.sub(r"[ _-]", "", text).lower()
