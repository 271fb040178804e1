"""Scores by a fixed protocol, films, curves."""
