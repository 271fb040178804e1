"""DQN on Atari as a configuration layer on Stable-Baselines3 and its zoo."""

__version__ = "0.1.0"


def register() -> None:
    """Make every game of this project known to Gymnasium; safe to call twice."""
    from custom.games import register_games

    register_games()
