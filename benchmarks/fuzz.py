"""Damage files in many ways and read them: an error of one line or success, and nothing else.

python -m benchmarks.fuzz [--count 100000] [--seed 0] [--keep FOLDER]

Each reader gets files of this project with bytes flipped, cut, doubled and replaced, and with
values exchanged for others. What may not happen: another exception, code that runs, a file written
outside the temporary folder, more than 10 seconds, more than 1 GB of memory. What fails is kept in
FOLDER.
"""

import argparse
import hashlib
import io
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch as th
import yaml

from custom.compare.sources import from_logs
from custom.hub.leaderboard import entry_of, local_entries
from custom.learner.engine import Engine
from custom.recipe.games import find_game
from custom.recipe.recipe import FOLDER, load_recipe
from custom.runs.agents import load_agent
from custom.runs.folder import Run, open_run
from custom.runs.listing import rows_of
from custom.runs.zoo_files import recipe_of
from custom.system.errors import UserError
from custom.training.prepare import prepare
from custom.training.resume import resume
from custom.training.settings import Settings
from custom.training.train import train

PONG = find_game("Pong")
SMALL = {
    "env_wrapper": [{"stable_baselines3.common.atari_wrappers.AtariWrapper": {"screen_size": 36}}],
    **{"frame_stack": 4, "policy": "CnnPolicy", "n_timesteps": 60, "buffer_size": 60},
    "policy_kwargs": {"features_extractor_kwargs": {"features_dim": 16}},
}
# fmt: off
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 10**9, 10**400, 0.5, float("nan"), float("-inf"), "", "x" * 3000, "1e9",
    [], {}, [[[]]], {"a": {}}, "../../x", "torch.nn.Module", "os.system", "lin_0", "é\x1b[2J",
)
TEXTS = [
    b"!!int ", b"!!python/object/apply:os.system [id]", b"&a [*a]", b"'", b'"', b": ", b"\n- ",
    b"\xff\xfe", b"\x00", b"{" * 50, b"1" * 5000, b"NaN", b"1e999", b"-", b"<<: *x\n", b"\r\n",
]
# fmt: on
FORBIDDEN = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "socket.connect")
LONGEST = 10  # seconds of one read
MOST_MEMORY = 2**30  # bytes by which the process may grow


@dataclass(frozen=True)
class Reader:
    """What reads a file.

    :param share: of all mutations
    :param seeds: sound files
    :param read: takes a damaged one
    """

    name: str
    share: float
    seeds: list[bytes]
    read: Callable[[bytes], object]


def mutated(content: bytes, rng: random.Random) -> bytes:
    """A file with 1 to 4 faults."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        kind, at = rng.randrange(6), rng.randrange(len(content) + 1)
        end = min(at + rng.randrange(1, 40), len(content))
        if kind == 0 and content:
            at = min(at, len(content) - 1)
            flipped = content[at] ^ 1 << rng.randrange(8)
            content = content[:at] + bytes([flipped]) + content[at + 1 :]
        elif kind == 1:
            content = content[:at]
        elif kind == 2:
            content = content[:at] + content[end:]
        elif kind == 3:
            content = content[:at] + content[at:end] * rng.randrange(2, 5) + content[end:]
        elif kind == 4:
            content = content[:at] + rng.choice(TEXTS) + content[end:]
        else:
            content = restructured(content, rng)
    return content


def restructured(content: bytes, rng: random.Random) -> bytes:
    """A JSON or YAML file with a value, key or entry exchanged; others, and damaged ones, as is."""
    try:
        value = json.loads(content)
        write: Callable[[Any], str] = json.dumps
    except ValueError:
        try:
            value, write = yaml.safe_load(content), yaml.safe_dump
        except Exception:  # damaged before
            return content
    places: list[tuple[Any, Any]] = []
    nodes = [value]
    while nodes and len(places) < 10**5:  # an alias may name what it is in
        node = nodes.pop()
        if isinstance(node, dict | list):
            keys = list(node) if isinstance(node, dict) else range(len(node))
            places += [(node, key) for key in keys]
            nodes += [node[key] for key in keys]
    if places:
        node, key = rng.choice(places)
        if rng.random() < 0.2 and isinstance(node, dict):
            node[rng.choice(("extends", "algo", "state", "x", ""))] = node.pop(key)
        else:
            node[key] = rng.choice(VALUES)
    try:
        return write(value).encode("utf-8", "surrogatepass")
    except (ValueError, yaml.YAMLError, RecursionError):
        return content


def damaged(content: bytes, rng: random.Random) -> bytes:
    """A file with faults; of a zip archive mostly in one member, with sound checksums."""
    if content[:2] != b"PK" or rng.random() < 0.3:
        return mutated(content, rng)
    made, chosen = io.BytesIO(), ""
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        chosen = rng.choice(old.namelist())
        for name in old.namelist():
            member = old.read(name)
            if name == chosen:
                member = damaged(member, rng)
            new.writestr(name, member)
    return made.getvalue()


OF_A_RUN = ["run.json", "recipe.yml", "evaluation.json", "training_games.csv", "evaluations.npz"]


class SmallRuns:
    """A finished run in ``logs``, one in ``stopped`` with a saved state, and what reads them."""

    def __init__(self, folder: Path):
        self.folder, self.rng = folder, random.Random(1)
        (folder / "small.yml").write_text(yaml.safe_dump({"atari": SMALL}))
        self.run, self.stopped = self.trained("logs"), self.trained("stopped")
        (self.run.path / "evaluation.json").write_text(
            json.dumps({"mean": -21.0, "std": 0.0, "protocol": {"epsilon": 0.05}})
        )
        self.sound = {name: (self.run.path / name).read_bytes() for name in OF_A_RUN}
        zoo_folder = self.run.path / PONG.folder_name
        self.zoo = {path.name: path.read_bytes() for path in zoo_folder.iterdir()}

    def trained(self, name: str) -> Run:
        """A run of 60 steps; in ``stopped`` it ends at once with its state saved."""
        how: dict[str, Any] = {"eval_freq": 60, "eval_episodes": 1, "save_freq": 20}
        settings = Settings(0, self.folder / name, "cpu", engine=Engine(), **how)
        training = prepare(load_recipe(str(self.folder / "small.yml"), PONG), PONG, settings)
        training.status.stop_requested = name == "stopped"
        train(training)
        return training.run

    def readers(self) -> list[Reader]:
        """All readers, with their sound files."""
        cards = [b'[{"name": "DQN", "results": [{"metrics": [{"value": "1.50 +/- 0.20"}]}]}]']
        recipes = [file.read_bytes() for file in sorted(FOLDER.glob("*.yml"))]
        config = [self.zoo["config.yml"], self.zoo["args.yml"], b"{}"]
        return [
            Reader("recipe", 0.4, recipes, self.recipe),
            *(
                Reader(name, 0.09, [self.sound[name]], partial(self.of_run, name))
                for name in OF_A_RUN
            ),
            Reader("config", 0.1, config, self.config),
            Reader("card", 0.03, cards, self.card),
            Reader("agent", 0.01, [self.run.final_model.read_bytes()], self.agent),
            Reader("state", 0.01, [b"{}"], self.state),
        ]

    def of_run(self, name: str, content: bytes) -> None:
        """A file of the finished run; the sound one comes back."""
        (self.run.path / name).write_bytes(content)
        try:
            rows_of(self.folder / "logs")
            local_entries(PONG, self.folder / "logs")
            from_logs(self.folder / "logs", [PONG], ["small"])
        finally:
            (self.run.path / name).write_bytes(self.sound[name])

    def recipe(self, content: bytes) -> None:
        """A recipe."""
        file = self.folder / "fuzzed.yml"
        file.write_bytes(content)
        load_recipe(str(file), PONG)

    def agent(self, content: bytes) -> None:
        """A saved agent."""
        file = self.folder / "agent.zip"
        file.write_bytes(content)
        load_agent(self.run, file, "cpu")

    def state(self, content: bytes) -> None:
        """A saved state of which one file is damaged; ``content`` is its manifest unless ``{}``."""
        copied = self.folder / "copied"
        shutil.rmtree(copied, ignore_errors=True)
        shutil.copytree(self.stopped.path, copied)
        files = json.loads((copied / "state/manifest.json").read_text())
        name = self.rng.choice(sorted(files))
        changed = damaged((copied / "state" / name).read_bytes(), self.rng)
        (copied / "state" / name).write_bytes(changed)
        if self.rng.random() < 0.8:  # a fault that the checksum does not show
            files[name] = hashlib.sha256(changed).hexdigest()
        manifest = json.dumps(files).encode()
        (copied / "state/manifest.json").write_bytes(content if content != b"{}" else manifest)
        training = resume(open_run(copied), "cpu")
        training.lock.close()
        if training.model.env is not None:
            training.model.env.close()

    def config(self, content: bytes) -> None:
        """A settings file of the zoo, in the place of each."""
        for name in ("config.yml", "recipe.yml", "args.yml", "env_kwargs.yml"):
            sound = {"config.yml": self.zoo["config.yml"], "args.yml": self.zoo["args.yml"]}
            recipe_of({**sound, name: content}, "dqn", PONG, "fuzzed")

    @staticmethod
    def card(content: bytes) -> None:
        """The results of a model card."""
        try:
            index = json.loads(content)
        except (ValueError, RecursionError):
            return
        entry_of(SimpleNamespace(id="a/b", model_index=index, card_data=None))


def problem_of(reader: Reader, content: bytes) -> str:
    """What went wrong while a file was read; empty: nothing."""
    signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(LONGEST)
    try:
        reader.read(content)
    except UserError as error:
        too_long = max(map(len, str(error).splitlines()), default=0) > 5000
        return "a line of more than 5,000 characters" if too_long or not str(error) else ""
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:300]
    finally:
        signal.alarm(0)
    return ""


def _hangs(*_: object) -> None:
    raise TimeoutError(f"more than {LONGEST} s")


def main() -> int:
    """Read them all; the last lines are the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-faults"))
    parser.add_argument("--only", default="", help="name of one reader")
    args = parser.parse_args()
    th.set_num_threads(1)
    seen: list[str] = []

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        is_write = (
            event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        )
        if is_write and not str(arguments[0]).startswith((str(folder), "/dev/", "/proc/")):
            seen.append(f"wrote {arguments[0]}")
        if event.startswith(FORBIDDEN) and arguments[0] != "git":  # which provenance asks
            seen.append(f"{event} {arguments}"[:200])

    total, faults, began = 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        everything = SmallRuns(folder).readers()
        sys.addaudithook(audit)
        for reader in everything:
            if args.only not in ("", reader.name):
                continue
            rng = random.Random(f"{args.seed} {reader.name}")
            count, failed = round(args.count * reader.share), 0
            for _ in range(count):
                content = damaged(rng.choice(reader.seeds), rng)
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                seen.clear()
                problem = problem_of(reader, content)
                grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
                problem = problem or "; ".join(seen)
                if grown > MOST_MEMORY:
                    problem = f"{problem} {grown:,} bytes of memory"
                if problem:
                    failed += 1
                    args.keep.mkdir(parents=True, exist_ok=True)
                    digest = hashlib.sha256(content).hexdigest()[:8]
                    (args.keep / f"{reader.name}.{digest}").write_bytes(content)
                    print(f"{reader.name} {digest}: {problem}", flush=True)
            print(f"{reader.name}: {count:,} mutations, {failed} faults", flush=True)
            total, faults = total + count, faults + failed
    seconds = time.monotonic() - began
    print(f"{total:,} mutations, {faults} faults, {seconds:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
