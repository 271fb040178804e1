"""The Hugging Face Hub: agents are pushed there, pulled from there, and ranked.

- `client`: login, and every error of the Hub's client as one line
- `publish`, `card`: a run's agent as a folder with a model card, and the commit
- `pull`: a repository as a run folder; nothing in it is unpickled
- `leaderboard`: the agents of a game, ranked
"""
