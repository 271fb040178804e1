"""Published full-game scores of Atari games, to set a result beside; the table is a CSV file.

Columns of ``reference_scores.csv``; an empty cell means that no figure was found:

- ``random``, ``human`` (57 games): google-deepmind/dqn_zoo, ``dqn_zoo/atari_data.py``. Each episode
  starts with 1-30 no-ops and ends after 108,000 frames (30 minutes); the human is a professional
  games tester. The random scores are those of Mnih et al. 2015, the human ones are not: their
  tester's scores are others for 34 of the 49 games (Space Invaders 1652), so that the percentages
  in the paper differ from those computed here.
- ``dqn_nature_200m`` (49 games): Mnih et al. 2015, "Human-level control through deep reinforcement
  learning", Nature 518, Extended Data Table 2 (https://doi.org/10.1038/nature14236), as quoted in
  pfnet/pfrl, ``examples/atari/reproduction/dqn/README.md``. One run of 200M frames (50M agent
  steps), best network of the run, 30 episodes of up to 30 no-ops, epsilon 0.05, and at most
  5 minutes of play (18,000 frames, not 108,000).
- ``zoo_dqn_40m``, ``zoo_qrdqn_40m`` (10 games): DLR-RM/rl-baselines3-zoo, ``benchmark.md``, rounded
  to one decimal. One run of 40M frames (10M agent steps) on ``NoFrameskip-v4``, last network, about
  600k frames of evaluation with up to 30 no-ops and the stochastic policy (final epsilon 0.01).
  The zoo's DQN keeps 100k transitions.

Mean scores of different protocols are no ranking: name the protocol wherever a figure is shown.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

NATURE = "Mnih et al. 2015, Extended Data Table 2 (5-minute episodes, epsilon 0.05)"
DQN_ZOO = "DQN Zoo, atari_data.py (1-30 no-ops, 30-minute episodes)"
SB3_ZOO = "rl-baselines3-zoo, benchmark.md (one run, stochastic evaluation)"


@dataclass(frozen=True)
class Reference:
    """Published scores of one game, in points of a full game; None where there is no figure.

    :param rom: ale_py's name of the ROM, e.g. ``space_invaders``
    :param random: uniformly random actions
    :param human: professional games tester
    :param dqn_nature: DQN of Mnih et al. 2015, 200M frames
    :param zoo_dqn: DQN of the Stable-Baselines3 zoo, 40M frames
    :param zoo_qrdqn: QR-DQN of the Stable-Baselines3 zoo, 40M frames
    """

    rom: str
    random: float | None
    human: float | None
    dqn_nature: float | None
    zoo_dqn: float | None
    zoo_qrdqn: float | None


@cache
def _table() -> dict[str, Reference]:
    """Read the CSV file, once."""
    text = (resources.files("custom") / "reference_scores.csv").read_text(encoding="utf-8")
    table = {}
    for row in csv.DictReader(text.splitlines()):
        rom = row.pop("rom")
        score = {column: float(cell) if cell else None for column, cell in row.items()}
        table[rom] = Reference(
            rom=rom,
            random=score["random"],
            human=score["human"],
            dqn_nature=score["dqn_nature_200m"],
            zoo_dqn=score["zoo_dqn_40m"],
            zoo_qrdqn=score["zoo_qrdqn_40m"],
        )
    return table


def reference(rom: str) -> Reference:
    """Published scores of a game; every score is None for a game that has none.

    :param rom: ale_py's name of the ROM, e.g. ``space_invaders``
    """
    return _table().get(rom, Reference(rom, None, None, None, None, None))


def human_normalised(rom: str, score: float) -> float | None:
    """Score on the scale where 0.0 is random play and 1.0 the human tester.

    Mnih et al. 2015 write the same quotient as a percentage, 100 for the human. None where either
    end of the scale is unknown or both are equal.

    :param rom: ale_py's name of the ROM, e.g. ``space_invaders``
    :param score: points of a full game
    """
    ends = reference(rom)
    if ends.random is None or ends.human is None or ends.human == ends.random:
        return None
    return (score - ends.random) / (ends.human - ends.random)


def published(rom: str) -> list[tuple[str, float, str]]:
    """Rows (label, score, source) of a table of published scores; only those with a figure.

    :param rom: ale_py's name of the ROM, e.g. ``space_invaders``
    """
    known = reference(rom)
    rows = [
        ("random", known.random, DQN_ZOO),
        ("human", known.human, DQN_ZOO),
        ("DQN (Nature 2015, 200M frames)", known.dqn_nature, NATURE),
        ("zoo DQN (40M frames)", known.zoo_dqn, SB3_ZOO),
    ]
    return [(label, score, source) for label, score, source in rows if score is not None]
