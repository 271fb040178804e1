"""`make tune`: Optuna asks for hyperparameters, trainings in processes of their own answer.

A study lies in a storage that several machines may share. What is known of a trial is there; its
run folder is on the machine that trained it. A process may be killed at any time: its trial is
given to another one, and no trial is counted twice.
"""
