"""From a recipe to a finished run folder: prepare, train, save, resume."""
