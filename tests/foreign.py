"""Agents as others publish them: trained by the zoo itself, laid out as it pushes them."""

import io
import zipfile
from pathlib import Path

import pytest
import torch as th
import yaml

from tests.compared import once

ENV = "PongNoFrameskip-v4"
Files = dict[str, bytes]
Zoo = dict[str, Files]  # by algorithm


@pytest.fixture(scope="session")
def zoo_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs of the zoo with a DQN and a QR-DQN run of Pong."""
    return once(tmp_path_factory, "zoo", _train)


@pytest.fixture(scope="session")
def zoo(zoo_runs: Path) -> Zoo:
    """Repositories of these runs' agents, by algorithm."""
    return {algo: laid_out(algo, zoo_runs / algo / f"{ENV}_1") for algo in ("dqn", "qrdqn")}


def _train(folder: Path) -> None:
    from tests.conftest import WHOLE, run_process  # which imports this module

    network = "dict(features_extractor_kwargs=dict(features_dim=32))"
    (folder / "small.yml").write_text(yaml.safe_dump({"atari": WHOLE | {"policy_kwargs": network}}))
    flags = ("--env", ENV, "-conf", folder / "small.yml", "-f", folder, "-n", 200, "--seed", 5)
    few = ("--eval-freq", 200, "--eval-episodes", 1, "--n-eval-envs", 1)
    for algo in ("dqn", "qrdqn"):
        run_process("rl_zoo3.train", "--algo", algo, *flags, *few)


def laid_out(algo: str, folder: Path) -> Files:
    """The files of a repository, as ``package_to_hub`` of the zoo has them."""
    agent = (folder / f"{ENV}.zip").read_bytes()
    files = {f"{algo}-{ENV}.zip": agent}
    with zipfile.ZipFile(io.BytesIO(agent)) as archive:
        files |= {f"{algo}-{ENV}/{name}": archive.read(name) for name in archive.namelist()}
    files |= {name: (folder / ENV / name).read_bytes() for name in ("args.yml", "config.yml")}
    metrics = {path.name: path.read_bytes() for path in folder.glob("*.csv")}
    metrics["evaluations.npz"] = (folder / "evaluations.npz").read_bytes()
    return files | {
        ".gitattributes": b"*.zip filter=lfs diff=lfs merge=lfs -text\n",
        "README.md": b"---\nlibrary_name: stable-baselines3\n---\n# An agent\n",
        "env_kwargs.yml": b"render_mode: rgb_array\n",
        "replay.mp4": b"\0\0\0\x20ftypisom" + bytes(100),
        "results.json": b'{"mean_reward": -21.0, "std_reward": 0.0}',
        "train_eval_metrics.zip": zipped(metrics),
    }


def zipped(members: Files, method: int = zipfile.ZIP_STORED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def changed(archive: bytes, members: Files) -> bytes:
    return zipped({**unzipped(archive), **members})


def weights_of(pth: bytes) -> dict[str, th.Tensor]:
    found: dict[str, th.Tensor] = th.load(io.BytesIO(pth), weights_only=True)
    return found


def saved(weights: object) -> bytes:
    made = io.BytesIO()
    th.save(weights, made)
    return made.getvalue()


def unzipped(content: bytes) -> Files:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
