"""sb3-contrib's QR-DQN on this project's replay; the algorithm is theirs."""

from __future__ import annotations

from sb3_contrib import QRDQN

from custom.off_policy import AtariOffPolicy


class AtariQRDQN(AtariOffPolicy, QRDQN):
    """QR-DQN (Dabney et al. 2018), with the arguments of sb3-contrib's and of `AtariOffPolicy`."""

    def _setup_model(self) -> None:
        if self.prioritized_replay is not None:
            raise ValueError(
                "prioritized_replay needs a recipe of dqn: there n_quantiles learns it"
            )
        super()._setup_model()
