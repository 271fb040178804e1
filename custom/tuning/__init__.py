"""`make tune`: Optuna suggests hyperparameters, trainings in their own processes score them.

A study lies in a storage that several machines may share; a trial's run folder is on the machine
that trained it. Any process may be killed at any time: its trial is trained anew and counts once.
"""
