"""DeepMind's RMSProp: centred, epsilon inside the root, averages from zero, no momentum.

As in Graves 2013 (https://arxiv.org/abs/1308.0850, eq. 38-41, without momentum) and in the code
that Mnih et al. 2015 published. It differs from `torch.optim.RMSprop(centered=True)`, which adds
epsilon outside the root, and from SB3's `RMSpropTFLike`, whose squared average starts at one.
"""

from collections.abc import Iterable
from typing import Any

import torch as th
from torch.optim import Optimizer


class DeepMindRMSprop(Optimizer):
    r"""RMSProp as DeepMind's DQN uses it.

    With gradient :math:`g`, at every step

    .. math::
        m = \alpha m + (1 - \alpha) g, \quad v = \alpha v + (1 - \alpha) g^2, \quad
        w = w - lr \cdot g / \sqrt{v - m^2 + eps}

    :param params: parameters or parameter groups
    :param lr: learning rate, at least 0
    :param alpha: decay of both averages, in [0, 1)
    :param eps: added inside the root, > 0. DeepMind's 0.01 belongs to a loss that is the sum over
        a batch of 32; for a mean it is 0.01 / 32²
    :raises ValueError: a parameter out of its range
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | th.Tensor = 2.5e-4,
        alpha: float = 0.95,
        eps: float = 0.01,
    ) -> None:
        if not lr >= 0:
            raise ValueError(f"lr must be at least 0, is {lr}")
        if not 0 <= alpha < 1:
            raise ValueError(f"alpha must be in [0, 1), is {alpha}")
        if not eps > 0:
            raise ValueError(f"eps must be above 0, is {eps}")
        # As in PyTorch's optimizers: `step` is in fused calls, and can be captured if `lr` is a
        # tensor on the device.
        kind = {"foreach": True, "capturable": False}
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps, **kind})

    @th.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closures
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            for p in params:
                if not self.state[p]:
                    for name in ("grad_avg", "square_avg"):
                        self.state[p][name] = th.zeros_like(p, memory_format=th.preserve_format)
            grads = [p.grad for p in params]
            grad_avgs = [self.state[p]["grad_avg"] for p in params]
            square_avgs = [self.state[p]["square_avg"] for p in params]
            alpha = group["alpha"]
            th._foreach_mul_(grad_avgs, alpha)
            th._foreach_add_(grad_avgs, grads, alpha=1 - alpha)
            th._foreach_mul_(square_avgs, alpha)
            th._foreach_addcmul_(square_avgs, grads, grads, value=1 - alpha)
            roots = th._foreach_addcmul(square_avgs, grad_avgs, grad_avgs, value=-1)
            # A variance is never negative; its rounding can be, by more than eps when the gradient
            # hardly varies.
            th._foreach_clamp_min_(roots, 0)
            th._foreach_add_(roots, group["eps"])
            th._foreach_sqrt_(roots)
            steps = th._foreach_div(grads, roots)
            th._foreach_mul_(steps, group["lr"])
            th._foreach_sub_(params, steps)
