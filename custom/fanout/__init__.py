"""Many commands at once: on this machine, on Ray, on SLURM.

What runs is always a command of this project in a process of its own, which may be killed and
given again: it goes on, or begins anew, from what it left on disk.
"""
