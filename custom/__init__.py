"""DQN on Atari as a configuration layer on Stable-Baselines3 and its zoo."""

import os

# PyTorch's threads wait for each other by spinning, for a core that another process may have: this
# lets them sleep soon. It counts only if libgomp is loaded after it. docs/performance.md
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__version__ = "0.1.0"
