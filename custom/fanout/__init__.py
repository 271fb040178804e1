"""Many commands at once: on this machine, on Ray, on SLURM.

Each is a command of this project in its own process. A killed one is started again and continues
from what it left on the disk.
"""
