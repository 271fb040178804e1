"""sb3-contrib's QR-DQN with this project's replay buffer; the algorithm is theirs."""

from __future__ import annotations

from sb3_contrib import QRDQN

from custom.learner.nan_guard import NanGuard
from custom.learner.off_policy import AtariOffPolicy


class AtariQRDQN(AtariOffPolicy, QRDQN):
    """QR-DQN (Dabney et al. 2018), with the arguments of sb3-contrib's and of `AtariOffPolicy`.

    :raises ValueError: `prioritized_replay` is set
    :raises NonFiniteError: from `learn`, once a loss is NaN or infinite
    """

    def _setup_model(self) -> None:
        if self.prioritized_replay is not None:
            raise ValueError("prioritized_replay needs algo: dqn; there, set n_quantiles")
        super()._setup_model()

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """As sb3-contrib's, then check the loss."""
        super().train(gradient_steps, batch_size)
        guard = NanGuard(self.policy, lambda: self.num_timesteps)
        guard.check_loss(float(self.logger.name_to_value["train/loss"]))
