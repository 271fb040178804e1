"""Published full-game scores of Atari games.

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
- ``zoo_dqn_40m`` (10 games): DLR-RM/rl-baselines3-zoo, ``benchmark.md``, rounded to one decimal.
  One run of 40M frames (10M agent steps) on ``NoFrameskip-v4``, last network, about 600k frames of
  evaluation with up to 30 no-ops and the stochastic policy (final epsilon 0.01). The zoo's DQN
  keeps 100k transitions.

Mean scores of different protocols are no ranking: name the protocol wherever a figure is shown.
"""

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

NATURE = "Mnih et al. 2015, Extended Data Table 2 (5-minute episodes, epsilon 0.05)"
DQN_ZOO = "DQN Zoo, atari_data.py (1-30 no-ops, 30-minute episodes)"
SB3_ZOO = "rl-baselines3-zoo, benchmark.md (one run, stochastic evaluation)"
RANDOM = "random play"
PUBLISHED = {  # column: label and source
    "random": (RANDOM, DQN_ZOO),
    "human": ("human", DQN_ZOO),
    "dqn_nature_200m": ("DQN (Nature 2015, 200M frames)", NATURE),
    "zoo_dqn_40m": ("zoo DQN (40M frames)", SB3_ZOO),
}


class Level(NamedTuple):
    """A score of a game that others are compared with, in raw points of a full game."""

    label: str
    score: float
    source: str


@cache
def _table() -> dict[str, dict[str, float]]:
    with Path(__file__).with_name("reference_scores.csv").open(newline="") as file:
        return {
            row["rom"]: {name: float(row[name]) for name in PUBLISHED if row[name]}
            for row in csv.DictReader(file)
        }


def reference(rom: str) -> dict[str, float]:
    """The published scores of a game by their columns, those with a figure.

    :param rom: ale_py's name of the ROM, e.g. ``space_invaders``
    """
    return _table().get(rom, {})


def published(rom: str) -> list[Level]:
    """The published scores of a game with their sources."""
    return [
        Level(PUBLISHED[name][0], score, PUBLISHED[name][1])
        for name, score in reference(rom).items()
    ]


def human_normalised(rom: str, score: float) -> float | None:
    """The score on the scale where 0.0 is random play and 1.0 the human tester.

    Mnih et al. 2015 write it as a percentage. None if an end of the scale is unknown or both are
    equal.
    """
    random, human = (reference(rom).get(name) for name in ("random", "human"))
    if random is None or human is None or human == random:
        return None
    return (score - random) / (human - random)
