"""Errors, lines for the user, signals, files."""
