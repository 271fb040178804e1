"""The Hugging Face Hub: agents go there, come back, and are ranked.

- `client`: who asks, how often, and what is said when the Hub refuses
- `publish`, `bundle`, `card`: a run's agent as a folder with a page, and the commit
- `pull`, `sources`, `safe_files`, `zoo_files`: a repository as a run folder, checked file by file
- `leaderboard`: the agents of a game, ranked
"""
