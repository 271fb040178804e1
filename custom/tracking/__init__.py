"""Weights & Biases, on request: what a training logs there, live or uploaded later.

A server that fails neither stops nor changes a training. wandb is imported only where it is used.
"""
