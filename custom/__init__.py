"""DQN on Atari as a configuration layer on Stable-Baselines3 and its zoo."""

__version__ = "0.1.0"
