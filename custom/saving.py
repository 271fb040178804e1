"""What a DQN of this project leaves in a file: an agent of SB3's own `DQN`."""

from __future__ import annotations

import io
import pathlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch as th
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.dqn.dqn import DQN

from custom.console import say
from custom.layout import plain_state, unused_adam

TRAINING_ONLY = ("optimizer_class", "optimizer_kwargs")  # of the policy's arguments


class SavedAsSB3(DQN):
    """A DQN whose files `stable_baselines3.DQN.load` reads without this project.

    SB3 pickles classes into the file by their names. Those of this project that only training needs
    stay out, and the optimizer's averages are laid out as PyTorch's.
    """

    _for_others = False  # while an agent is saved

    def get_parameters(self) -> dict[str, dict[str, Any]]:
        """As SB3's; the optimizer's are those of one that was not set up for speed."""
        optimizer = self.policy.optimizer
        for_others = self._for_others and _is_own(type(optimizer))
        state = unused_adam(optimizer) if for_others else plain_state(optimizer)
        return {**super().get_parameters(), "policy.optimizer": state}

    def set_parameters(
        self, load_path_or_dict: Any, exact_match: bool = True, device: th.device | str = "auto"
    ) -> None:
        """As SB3's; the state of another kind of optimizer is left out, and that is said."""
        params = load_path_or_dict
        if not isinstance(params, dict):
            _, params, _ = load_from_zip_file(params, device=device, load_data=False)
        state, given = self.policy.optimizer.state_dict(), params.get("policy.optimizer")
        if given and given["param_groups"][0].keys() != state["param_groups"][0].keys():
            say("the saved optimizer is of another kind: its averages start anew")
            params = {**params, "policy.optimizer": state}
        super().set_parameters(params, exact_match, device)

    def save(
        self,
        path: str | pathlib.Path | io.BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Save an agent that `stable_baselines3.DQN.load` reads without this project."""
        with self._without_own_classes():
            super().save(path, exclude, include)

    @contextmanager
    def _without_own_classes(self) -> Iterator[None]:
        kept = self.policy_kwargs, self.replay_buffer_class, self.replay_buffer_kwargs
        self._for_others = True
        if _is_own(self.policy_kwargs.get("optimizer_class")):
            arguments = self.policy_kwargs.items()
            self.policy_kwargs = {k: v for k, v in arguments if k not in TRAINING_ONLY}
        if _is_own(self.replay_buffer_class):
            self.replay_buffer_class, self.replay_buffer_kwargs = None, {}
        try:
            yield
        finally:
            self.policy_kwargs, self.replay_buffer_class, self.replay_buffer_kwargs = kept
            self._for_others = False

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_for_others"]


def _is_own(cls: type | None) -> bool:
    return cls is not None and cls.__module__.startswith("custom.")
