"""The run folder, and agents in it."""
