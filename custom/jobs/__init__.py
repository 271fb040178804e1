"""Many trainings, on this machine, Ray or SLURM."""
