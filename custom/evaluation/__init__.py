"""Scores by a fixed protocol, films, curves."""

EPSILON = 0.05  # share of random actions in evaluations
