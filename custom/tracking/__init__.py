"""Weights & Biases, on request: what a training logs, and how it outlives a server that does not.

Nothing here stops or slows a training beyond a bounded time. What does not reach the server stays
in ``<run>/wandb/`` until ``make sync`` uploads it. wandb is imported only where it is used.
"""
