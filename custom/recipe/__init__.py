"""From a YAML file to the checked recipe of a game."""
