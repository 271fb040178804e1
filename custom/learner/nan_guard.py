"""Stop training at the first NaN or infinity, and name the tensor in which it began.

One NaN reaches every weight within one update, and then its origin is lost. So an update is checked
between the backward pass and the optimizer's step: the weights are still those that gave the loss,
and clipping has not yet spread one NaN over all gradients. Two numbers are read: the loss, and the
gradient norm that clipping needs anyway.
"""

import math

import torch as th
from stable_baselines3.common.policies import BasePolicy

from custom.system.errors import NonFiniteError


def check_finite(policy: BasePolicy, steps: int, loss: float, norm: float = 0.0) -> None:
    """Check an update of a policy's networks, the target network included.

    :param steps: so far, for the message
    :param norm: of all gradients together, before the optimizer's step
    :raises NonFiniteError: names a parameter, the loss or a gradient
    """
    if math.isfinite(loss) and math.isfinite(norm):
        return
    weights = dict(policy.named_parameters())
    tensors: dict[str, th.Tensor | None] = {
        **{f"the parameter {name}": weight for name, weight in weights.items()},
        "the loss (a reward, or the output of a network)": th.tensor(loss),
        # The backward pass computes the last one first.
        **{f"the gradient of {name}": weights[name].grad for name in reversed(weights)},
    }
    for name, tensor in tensors.items():
        if tensor is not None and not th.isfinite(tensor).all():
            raise NonFiniteError(
                f"training stopped at step {steps:,}: {name} has a value that is not finite;"
                " lower learning_rate or look at what feeds that tensor"
            )
    # All are finite, and only their norm overflows: clipping makes zeros of them.


def non_finite_parameter(policy: BasePolicy) -> str | None:
    """The first parameter, including those of the target network, with a NaN or infinity."""
    parameters = dict(policy.named_parameters())
    largest = th._foreach_norm(list(parameters.values()), math.inf)  # one call for all of them
    if th.isfinite(th.stack(largest)).all():
        return None
    return next(name for name, value in parameters.items() if not th.isfinite(value).all())
