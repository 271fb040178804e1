"""The replay of single frames."""
