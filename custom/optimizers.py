"""DeepMind's RMSProp: centred, epsilon inside the root, averages from zero, no momentum.

As in Graves 2013 (https://arxiv.org/abs/1308.0850, eq. 38-41, without momentum) and in the code
that Mnih et al. 2015 published. It differs from `torch.optim.RMSprop(centered=True)`, which adds
epsilon outside the root, and from SB3's `RMSpropTFLike`, whose squared average starts at one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch as th
from torch.optim import Optimizer

Tensors = list[th.Tensor]


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
    :param foreach: update all tensors in a few fused calls (default), or one after the other
    :param capturable: for a captured CUDA graph: the learning rate becomes a tensor on the device,
        to be changed in place (``lr.fill_(…)``); call `step` once before the capture, which creates
        the averages
    :raises ValueError: a parameter out of its range
    :raises TypeError: complex parameters
    :raises RuntimeError: sparse gradients
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | th.Tensor = 2.5e-4,
        alpha: float = 0.95,
        eps: float = 0.01,
        foreach: bool = True,
        capturable: bool = False,
    ) -> None:
        if not isinstance(lr, th.Tensor) and not lr >= 0:
            raise ValueError(f"lr must be at least 0, is {lr}")
        if not 0 <= alpha < 1:
            raise ValueError(f"alpha must be in [0, 1), is {alpha}")
        if not eps > 0:
            raise ValueError(f"eps must be above 0, is {eps}")
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "foreach": foreach,
            "capturable": capturable,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            if any(th.is_complex(p) for p in group["params"]):
                raise TypeError("DeepMindRMSprop does not support complex parameters")
            if capturable:
                group["lr"] = th.as_tensor(group["lr"], device=group["params"][0].device)

    @th.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient.

        :param closure: evaluates the loss again, with gradient
        :return: what the closure returned
        """
        loss = None
        if closure is not None:
            with th.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params, grads, grad_avgs, square_avgs = self._tensors(group["params"])
            if params:
                update = _update_foreach if group["foreach"] else _update_each
                averages = (grad_avgs, square_avgs)
                update(params, grads, *averages, group["lr"], group["alpha"], group["eps"])
        return loss

    def _tensors(self, params: Tensors) -> tuple[Tensors, Tensors, Tensors, Tensors]:
        """Parameters that have a gradient, their gradients, and their two averages."""
        used = [p for p in params if p.grad is not None]
        for p in used:
            assert p.grad is not None
            if p.grad.is_sparse:
                raise RuntimeError("DeepMindRMSprop does not support sparse gradients")
            if not self.state[p]:
                if p.is_cuda and th.cuda.is_current_stream_capturing():
                    raise RuntimeError("call step() once before the capture: it creates the state")
                self.state[p]["grad_avg"] = th.zeros_like(p, memory_format=th.preserve_format)
                self.state[p]["square_avg"] = th.zeros_like(p, memory_format=th.preserve_format)
        grads = [p.grad for p in used if p.grad is not None]
        grad_avgs = [self.state[p]["grad_avg"] for p in used]
        return used, grads, grad_avgs, [self.state[p]["square_avg"] for p in used]


def _update_each(
    params: Tensors,
    grads: Tensors,
    grad_avgs: Tensors,
    square_avgs: Tensors,
    lr: float | th.Tensor,
    alpha: float,
    eps: float,
) -> None:
    for p, g, m, v in zip(params, grads, grad_avgs, square_avgs, strict=True):
        m.mul_(alpha).add_(g, alpha=1 - alpha)
        v.mul_(alpha).addcmul_(g, g, value=1 - alpha)
        # A variance is never negative; its rounding can be, by more than eps when g hardly varies.
        root = v.addcmul(m, m, value=-1).clamp_min_(0).add_(eps).sqrt_()
        p.sub_(g.div(root).mul_(lr))


def _update_foreach(
    params: Tensors,
    grads: Tensors,
    grad_avgs: Tensors,
    square_avgs: Tensors,
    lr: float | th.Tensor,
    alpha: float,
    eps: float,
) -> None:
    th._foreach_mul_(grad_avgs, alpha)
    th._foreach_add_(grad_avgs, grads, alpha=1 - alpha)
    th._foreach_mul_(square_avgs, alpha)
    th._foreach_addcmul_(square_avgs, grads, grads, value=1 - alpha)
    roots = th._foreach_addcmul(square_avgs, grad_avgs, grad_avgs, value=-1)
    th._foreach_clamp_min_(roots, 0)  # as in _update_each
    th._foreach_add_(roots, eps)
    th._foreach_sqrt_(roots)
    steps = th._foreach_div(grads, roots)
    th._foreach_mul_(steps, lr)
    th._foreach_sub_(params, steps)
