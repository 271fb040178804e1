"""What an agent thinks, beside its game: the value of each action, and of the state."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th
from PIL import Image, ImageDraw, ImageFont
from stable_baselines3.common.base_class import BaseAlgorithm

from custom.evaluation.protocol import Act
from custom.runs.agents import action_values

WIDTH, HEIGHT = 360, 630  # pixels; 630 is the height of a film of most games
LEFT, BARS = 166, 124  # pixels: where the bars begin, and the longest
PAPER, GREY, WHITE, BLUE, ORANGE = "#101418", "#8a939c", "#ffffff", "#3f6f9f", "#ff9f1c"


class Panel:
    """Plays as another player does, and draws what an agent says of each step.

    :param act: who plays, one game
    :param model: whose values are drawn
    :param names: of the actions, by their numbers
    :ivar picture: (HEIGHT, WIDTH, 3), uint8: of the last step
    """

    def __init__(self, act: Act, model: BaseAlgorithm, names: list[str]) -> None:
        self._act, self._model, self._names = act, model, names
        self._row = min(32, (HEIGHT - 110) // len(names))  # pixels
        self._large, self._small = ImageFont.load_default(26), ImageFont.load_default(18)
        self._spread = 1e-9  # the largest so far, of the values of one step
        self.picture = np.array(Image.new("RGB", (WIDTH, HEIGHT), PAPER))

    def __call__(self, obs: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """(1,), the action of the player for (1, C, H, W)."""
        actions = self._act(obs)
        with th.no_grad():
            values = action_values(self._model, th.as_tensor(obs, device=self._model.device))
        self.picture = self._draw(values[0].tolist(), int(actions[0]))
        return actions

    def _draw(self, values: list[float], action: int) -> npt.NDArray[np.uint8]:
        """A row for each action; its bar is the value above that of the worst action."""
        worst, best = min(values), max(values)
        self._spread = max(self._spread, best - worst)
        image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
        draw, small = ImageDraw.Draw(image), self._small
        draw.text((12, 12), f"value of the state {best:.2f}", WHITE, self._large)
        draw.text((12, 50), "bars: above the worst action", GREY, small)
        for i, (name, value) in enumerate(zip(self._names, values, strict=True)):
            y, end = 90 + i * self._row, LEFT + BARS * (value - worst) / self._spread
            bar, text = (ORANGE, ORANGE) if i == action else (BLUE, WHITE)
            draw.text((12, y), name, text, small)
            draw.rectangle((LEFT, y + 2, end, y + self._row - 8), bar)
            draw.text((WIDTH - 8, y), f"{value:.2f}", text, small, "ra")
        return np.array(image)
