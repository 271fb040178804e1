"""Films of an agent: H.264 for every browser, and a small, fast GIF of the whole game."""

import math
import os
import re
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio_ffmpeg
import numpy as np

from custom.env.games import make_games
from custom.evaluation import EPSILON
from custom.evaluation.baselines import action_names
from custom.evaluation.panel import WIDTH, Panel
from custom.evaluation.protocol import Act, epsilon_greedy, evaluation_seed, play_games
from custom.runs.agents import load_agent
from custom.runs.folder import Run
from custom.system.errors import UserError
from custom.system.files import atomic_path, write_json
from custom.system.manifest import checksum

FPS = 60  # of the console
SCALE = 3
FILM_FACTS = "replay.json"
GIF_SECONDS = 40  # at most: a longer game is faster in it
GIF_BYTES = 5e6  # at most: a larger GIF is made anew, twice as fast
# Sprites blink in every other frame: the maximum of two neighbours shows them all.
GIF_FILTER = (
    "format=gbrp,tblend=all_mode=lighten,setpts=PTS/{speed},fps=15,"
    "scale=iw*2/3:-1:flags=neighbor,split[a][b];"
    "[a]palettegen=max_colors=32[palette];[b][palette]paletteuse=dither=none"
)


class Film(gym.Wrapper[Any, Any, Any, Any]):
    """Films every frame of one game, below the wrappers that skip and shrink them, until `close`.

    :param panel: stands beside the game
    """

    def __init__(self, env: gym.Env[Any, Any], path: Path, panel: Panel | None = None) -> None:
        super().__init__(env)
        self._ale: Any = env.unwrapped.ale  # type: ignore[attr-defined]
        self._panel = panel
        self._is_over = False  # what follows is the next game, which SB3 begins by itself
        height, width = self._ale.getScreenDims()
        scale = SCALE
        if panel:
            height, width, scale = height * SCALE, width * SCALE + WIDTH, 1
        self._writer = imageio_ffmpeg.write_frames(
            str(path),
            (width, height),
            fps=FPS,
            codec="libx264",
            pix_fmt_out="yuv420p",  # what browsers play
            macro_block_size=1,  # no resizing but that below
            ffmpeg_log_level="error",
            output_params=[
                "-vf",
                f"scale={width * scale // 2 * 2}:{height * scale // 2 * 2}:flags=neighbor",
                "-movflags",
                "+faststart",
            ],
        )
        self._writer.send(None)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Play on, and film the frame."""
        result = self.env.step(action)
        if self._is_over:
            return result
        self._is_over = result[2] or result[3]
        frame = self._ale.getScreenRGB()
        if self._panel:
            frame, beside = frame.repeat(SCALE, axis=0).repeat(SCALE, axis=1), self._panel.picture
            below = ((0, len(frame) - len(beside)), (0, 0), (0, 0))
            frame = np.hstack([frame, np.pad(beside, below, "edge")])
        self._writer.send(np.ascontiguousarray(frame))
        return result

    def close(self) -> None:
        """Complete the film."""
        self._writer.close()
        super().close()


def record_run(
    run: Run,
    file: Path,
    epsilon: float = EPSILON,
    seed: int = 0,
    device: str = "auto",
    actions: bool = False,
) -> tuple[Path, Path, int, float]:
    """Film one full game of an agent of a run; ``replay.json`` names the agent.

    :param actions: with the values of the actions beside the game
    :return: ``replay.mp4`` (every frame), ``replay.gif``, how many times faster that is, and the
        raw score
    :raises UserError: the agent is damaged, or the folder cannot be written
    """
    facts = {"model": file.name, "sha256": checksum(file), "epsilon": epsilon}
    model = load_agent(run, file, device)
    act: Act = epsilon_greedy(model, epsilon, np.random.default_rng(seed))
    panel = Panel(act, model, action_names(run.game, run.hyperparams)) if actions else None
    film, gif = run.path / "replay.mp4", run.path / "replay.gif"
    try:
        (run.path / FILM_FACTS).unlink(missing_ok=True)  # of an earlier film
        with atomic_path(film) as path:
            tap = partial(Film, path=path, panel=panel)
            env = make_games(run.game, run.hyperparams, 1, evaluation_seed(seed), tap=tap)
            try:
                score = play_games(panel or act, env, 1).mean
            finally:
                env.close()
        speed = _write_gif(film, gif)
        write_json(run.path / FILM_FACTS, {**facts, "seed": seed, "score": score})
    except OSError as error:
        reason = str(error).strip().splitlines()[0]  # the lines below it are ffmpeg's
        raise UserError(f"RUN {run.path}: the film cannot be written ({reason})") from None
    return film, gif, speed, score


def _write_gif(film: Path, gif: Path) -> int:
    """A whole film, within `GIF_SECONDS` and `GIF_BYTES`.

    :return: how many times faster it is
    :raises OSError: ffmpeg cannot write it
    """
    ffmpeg = (imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error")
    reader = imageio_ffmpeg.read_frames(str(film))
    speed: int = math.ceil(next(reader)["duration"] / GIF_SECONDS)
    reader.close()
    with atomic_path(gif) as path:
        while True:
            look = GIF_FILTER.format(speed=speed)
            command = [*ffmpeg, "-i", film, "-vf", look, "-loop", "0", path]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if done.returncode:
                raise OSError(done.stderr or f"ffmpeg ended with status {done.returncode}")
            if path.stat().st_size <= GIF_BYTES:
                return speed
            speed *= 2


def _x_server_answers() -> bool:
    """Whether there is an X server at DISPLAY; SDL would try for most of a minute."""
    match = re.fullmatch(r"(?:unix)?(.*):(\d+)(?:\.\d+)?", os.environ.get("DISPLAY", ""))
    if not match:
        return False
    host, number = match[1], int(match[2])
    try:
        if host:
            socket.create_connection((host, 6000 + number), timeout=5).close()
        else:
            with socket.socket(socket.AF_UNIX) as server:
                server.connect(f"/tmp/.X11-unix/X{number}")
    except OSError:
        return False
    return True


def show_window(run: Run, which: str, epsilon: float, seed: int, device: str, games: int) -> float:
    """Play in a window at the console's own speed.

    :return: mean raw score
    :raises UserError: there is no display
    """
    if sys.platform == "linux" and not (os.environ.get("WAYLAND_DISPLAY") or _x_server_answers()):
        raise UserError("there is no display for a window; make record films the agent instead")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")  # silent
    model = load_agent(run, run.model(which), device)
    env = make_games(run.game, run.hyperparams, 1, evaluation_seed(seed), render_mode="human")
    try:
        act = epsilon_greedy(model, epsilon, np.random.default_rng(seed))
        return play_games(act, env, games).mean
    finally:
        env.close()
