"""Films of an agent at play: H.264 for every browser, and a small GIF."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
from PIL import Image

from custom.agents import load_agent
from custom.atomic import atomic_path, write_json
from custom.envs import make_games
from custom.errors import UserError
from custom.evaluation import EPSILON, Act, Scores, epsilon_greedy, evaluation_seed, play_games
from custom.results import digest
from custom.runs import Run

Frame = npt.NDArray[np.uint8]
FPS = 60  # the console's
SCALE = 3
GIF_EVERY = 4  # frames; 15 pictures a second
GIF_SECONDS = 20
GIF_SCALE = 2
FILM_FACTS = "replay.json"


class FrameTap(gym.Wrapper[Any, Any, Any, Any]):
    """Shows every emulator frame to somebody, below the wrappers that skip and shrink them."""

    def __init__(self, env: gym.Env[Any, Any], show: Callable[[Frame], None]) -> None:
        super().__init__(env)
        self.show = show

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Play on, and show the frame."""
        result = self.env.step(action)
        self.show(self.env.unwrapped.ale.getScreenRGB())  # type: ignore[attr-defined]
        return result


def record_run(
    run: Run, file: Path, epsilon: float = EPSILON, seed: int = 0, device: str = "auto"
) -> tuple[Path, Path, float]:
    """Film one full game of an agent of a run; ``replay.json`` says of which.

    :return: ``replay.mp4`` (every frame), ``replay.gif`` (the first 20 s) and the raw score
    :raises UserError: the agent is damaged, or the folder cannot be written
    """
    sha256 = digest(file.read_bytes())
    said = {"model": file.name, "sha256": sha256, "epsilon": epsilon, "seed": seed}
    model = load_agent(run, file, device)
    rng = np.random.default_rng(seed)
    film, gif = run.path / "replay.mp4", run.path / "replay.gif"
    pictures: list[Frame] = []
    try:
        with _encoder(film) as show:
            scores = _film_game(run, epsilon_greedy(model, epsilon, rng), seed, show, pictures)
        _write_gif(gif, pictures)
        write_json(run.path / FILM_FACTS, {**said, "score": scores.mean})
    except OSError as error:
        reason = str(error).strip().splitlines()[0]  # ffmpeg's own words come below it
        raise UserError(f"RUN {run.path}: the film cannot be written ({reason})") from None
    return film, gif, scores.mean


def film_game(run: Run, act: Act, seed: int, film: Path, should_stop: Callable[[], bool]) -> float:
    """Film one full game of any rule that maps observations to actions.

    :param should_stop: asked at every step
    :return: the raw score
    :raises KeyboardInterrupt: it was stopped; there is no film
    """
    with _encoder(film) as show:
        scores = _film_game(run, act, seed, show, [], should_stop)
        if not scores.scores:
            raise KeyboardInterrupt
        return scores.mean


def _film_game(
    run: Run,
    act: Act,
    seed: int,
    show: Callable[[Frame], None],
    pictures: list[Frame],
    should_stop: Callable[[], bool] = lambda: False,
) -> Scores:
    camera = _Camera(show, pictures)
    env = make_games(
        run.game,
        run.hyperparams,
        n_envs=1,
        seed=evaluation_seed(seed),
        tap=lambda bare: FrameTap(bare, camera),
    )
    try:
        return play_games(act, env, 1, should_stop)
    finally:
        env.close()


class _Camera:
    """Passes every frame on to the encoder and keeps some for the GIF."""

    def __init__(self, show: Callable[[Frame], None], pictures: list[Frame]) -> None:
        self.show, self.pictures = show, pictures
        self.count = 0
        self.before: Frame | None = None

    def __call__(self, frame: Frame) -> None:
        self.show(frame)
        if self.count % GIF_EVERY == 0 and len(self.pictures) < GIF_SECONDS * FPS // GIF_EVERY:
            # Sprites blink in every other frame: the maximum of two shows them all.
            self.pictures.append(np.maximum(frame, frame if self.before is None else self.before))
        self.before = frame
        self.count += 1


@contextmanager
def _encoder(path: Path) -> Iterator[Callable[[Frame], None]]:
    """A function that takes frames; the file is there whole or not at all."""
    writer: list[Any] = []
    with atomic_path(path) as partial:

        def show(frame: Frame) -> None:
            if not writer:
                writer.append(_ffmpeg(partial, frame.shape[1], frame.shape[0]))
                writer[0].send(None)
            writer[0].send(np.ascontiguousarray(frame))

        try:
            yield show
        finally:
            for opened in writer:
                opened.close()


def _ffmpeg(path: Path, width: int, height: int) -> Any:
    return imageio_ffmpeg.write_frames(
        str(path),
        (width, height),
        fps=FPS,
        codec="libx264",
        pix_fmt_out="yuv420p",  # what browsers play
        macro_block_size=1,  # no resizing but our own
        ffmpeg_log_level="error",
        output_params=[
            "-vf",
            f"scale={width * SCALE // 2 * 2}:{height * SCALE // 2 * 2}:flags=neighbor",
            "-movflags",
            "+faststart",
        ],
    )


def _write_gif(path: Path, pictures: list[Frame]) -> None:
    size = (pictures[0].shape[1] * GIF_SCALE, pictures[0].shape[0] * GIF_SCALE)
    large = (Image.fromarray(p).resize(size, Image.Resampling.NEAREST) for p in pictures)
    images = [picture.quantize(32, dither=Image.Dither.NONE) for picture in large]
    with atomic_path(path) as partial:
        images[0].save(
            partial,
            format="GIF",
            save_all=True,
            append_images=images[1:],
            duration=[(60, 70, 70)[i % 3] for i in range(len(images))],  # 4 frames: 66.7 ms
            loop=0,
        )


def show_window(run: Run, which: str, epsilon: float, seed: int, device: str, games: int) -> float:
    """Play in a window at the console's own speed.

    :return: mean raw score
    :raises UserError: there is no display
    """
    displays = (os.environ.get("DISPLAY"), os.environ.get("WAYLAND_DISPLAY"))
    if sys.platform == "linux" and not any(displays):
        raise UserError("there is no display for a window; make record films the agent instead")
    model = load_agent(run, run.model(which), device)
    env = make_games(run.game, run.hyperparams, 1, evaluation_seed(seed), render_mode="human")
    try:
        rng = np.random.default_rng(seed)
        return play_games(epsilon_greedy(model, epsilon, rng), env, games).mean
    finally:
        env.close()
