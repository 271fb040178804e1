"""`sb3-atari-dqn COMMAND`: the commands of an installed copy, each that of make's target."""

import sys
from importlib import import_module
from pkgutil import iter_modules
from typing import NoReturn

import scripts
from scripts import options

PROGRAM = "sb3-atari-dqn"
NO_COMMANDS = {"cli", "options"}


def commands() -> dict[str, str]:
    """Name → module of every command."""
    names = [module.name for module in iter_modules(scripts.__path__)]
    return {name.replace("_", "-"): f"scripts.{name}" for name in names if name not in NO_COMMANDS}


def main() -> NoReturn:
    """Run a command with its flags, or list them all."""
    name, *words = sys.argv[1:] or ["--help"]
    if name in commands():
        options.main(import_module(commands()[name]).command, f"{PROGRAM} {name}", words)
    if name not in ("-h", "--help"):
        print(f"error: {name!r} is no command; {PROGRAM} --help lists them", file=sys.stderr)
        sys.exit(2)
    print(overview())
    sys.exit(0)


def overview() -> str:
    """All commands, each with the line that its script begins with."""
    lines = [f"Usage: {PROGRAM} COMMAND [--flag value ...]", ""]
    for name, module in commands().items():
        text = str(import_module(module).__doc__).partition("\n")[0]
        lines.append(f"  {name:<12} {text.partition(': ')[2].removesuffix('.')}")
    return "\n".join([*lines, "", f"{PROGRAM} COMMAND --help lists the flags of one."])


if __name__ == "__main__":
    main()
