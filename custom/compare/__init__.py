"""Recipes side by side, with uncertainty: all seeds, one protocol a column, no hasty winners.

The statistics are those of Agarwal et al. 2021 (https://arxiv.org/abs/2108.13264), by their
library `rliable`.
"""
