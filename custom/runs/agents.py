"""Agents in files: saved whole, refused where a number in them is not finite, loaded to play."""

from __future__ import annotations

import io
from pathlib import Path

import torch as th
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.dqn.policies import DQNPolicy

from custom.learner.nan_guard import non_finite_parameter
from custom.learner.off_policy import AtariOffPolicy
from custom.runs.folder import Run
from custom.runs.safe_agents import safe_agent
from custom.system.errors import NonFiniteError, UserError
from custom.system.files import atomic_file


def save_agent(model: BaseAlgorithm, path: Path) -> None:
    """Save an agent whole or not at all, so that SB3 loads it without this project.

    :raises NonFiniteError: a parameter is NaN or infinite; nothing is written
    """
    bad = non_finite_parameter(model.policy)
    if bad:
        raise NonFiniteError(f"{path.name} is not saved: {bad} has a value that is not finite")
    made = io.BytesIO()  # into a file PyTorch says of a full disk what nobody understands
    save = model.save_for_sb3 if isinstance(model, AtariOffPolicy) else model.save
    save(made)
    with atomic_file(path) as file:
        file.write(made.getbuffer())


def action_values(model: BaseAlgorithm, obs: th.Tensor) -> th.Tensor:
    """Values of all actions, (B, A), for observations as the replay holds them."""
    policy = model.policy
    if isinstance(policy, QRDQNPolicy):
        quantiles: th.Tensor = policy.quantile_net(obs)
        return quantiles.mean(dim=1)
    assert isinstance(policy, DQNPolicy)
    values: th.Tensor = policy.q_net(obs)
    return values


def load_agent(run: Run, file: Path, device: str = "auto") -> BaseAlgorithm:
    """An agent to play with; its replay is not allocated, and nothing in its file is unpickled.

    :raises UserError: the file is damaged or does not fit the run
    """
    try:
        return safe_agent(run, file, device)
    except Exception as error:  # whatever a broken archive makes zip, SB3 or torch raise
        reason = " ".join(str(error).split())
        raise UserError(
            f"{file}: cannot be loaded ({reason}); try ARGS='--model best', or train again"
        ) from None
