"""DeepMind's RMSProp against its formula, worked out in float64 with NumPy."""

import numpy as np
import pytest
import torch as th

from custom.optimizers import DeepMindRMSprop

LR, ALPHA, EPS = 2.5e-4, 0.95, 0.01 / 32**2


def random_gradients(steps: int, seed: int = 0) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [[rng.normal(0.1, 1.0, (7, 5)), rng.normal(0, 0.01, (3,))] for _ in range(steps)]


def formula(start: list[np.ndarray], gradients: list[list[np.ndarray]]) -> list[np.ndarray]:
    """w -= lr g / sqrt(v - m² + eps), m and v from zero, in float64."""
    w = [x.astype(np.float64) for x in start]
    m, v = [np.zeros_like(x) for x in w], [np.zeros_like(x) for x in w]
    for step in gradients:
        for i, g in enumerate(step):
            m[i] = ALPHA * m[i] + (1 - ALPHA) * g
            v[i] = ALPHA * v[i] + (1 - ALPHA) * g * g
            w[i] = w[i] - LR * g / np.sqrt(v[i] - m[i] ** 2 + EPS)
    return w


def run(
    optimizer: th.optim.Optimizer, params: list[th.Tensor], steps: list[list[np.ndarray]]
) -> None:
    for step in steps:
        for p, g in zip(params, step, strict=True):
            p.grad = th.as_tensor(g, dtype=p.dtype)
        optimizer.step()


def parameters(dtype: th.dtype) -> list[th.nn.Parameter]:
    rng = np.random.default_rng(1)
    return [th.nn.Parameter(th.as_tensor(rng.normal(size=s), dtype=dtype)) for s in [(7, 5), (3,)]]


@pytest.mark.parametrize(("dtype", "tolerance"), [(th.float64, 1e-12), (th.float32, 1e-6)])
def test_it_follows_the_formula_for_1000_steps(dtype: th.dtype, tolerance: float) -> None:
    params, gradients = parameters(dtype), random_gradients(1000)
    expected = formula([p.detach().double().numpy() for p in params], gradients)
    run(DeepMindRMSprop(params, lr=LR, alpha=ALPHA, eps=EPS), params, gradients)
    for p, w in zip(params, expected, strict=True):
        error = np.linalg.norm(p.detach().double().numpy() - w) / np.linalg.norm(w)
        assert error < tolerance


def test_no_variance_gives_no_nan_and_a_rate_may_be_a_tensor() -> None:
    p = th.nn.Parameter(th.tensor([1.0, -1.0]))
    optimizer = DeepMindRMSprop([p], lr=LR, eps=1e-10)
    for _ in range(2000):
        p.grad = th.tensor([1000.3, 31.7])  # v - m² is zero but for rounding
        optimizer.step()
    assert th.isfinite(p).all()
    moved = []
    for rate in (0.5, th.tensor(1.0)):
        p = th.nn.Parameter(th.zeros(1))
        optimizer = DeepMindRMSprop([p], lr=rate)
        if isinstance(rate, th.Tensor):
            rate.fill_(0.5)
        p.grad = th.ones(1)
        optimizer.step()
        moved.append(p.item())
    assert moved[0] == moved[1] != 0


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"alpha": 1.0}, {"eps": 0.0}])
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        DeepMindRMSprop([th.nn.Parameter(th.zeros(1))], **wrong)
