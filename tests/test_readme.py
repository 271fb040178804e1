"""What README and docs tell people to type is understood; figures follow from measurements."""

import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.results import IMAGES, PAGE, draw
from custom.recipe.games import find_game
from custom.recipe.recipe import load_recipe
from scripts import cli
from scripts.options import parser_of
from tests.test_makefile import ROOT, arguments, checkout, make

__all__ = ["checkout"]  # a fixture

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SCRIPTS = {module.rpartition(".")[2] for module in cli.commands().values()}


def commands() -> list[str]:
    blocks = [b for page in PAGES for b in re.findall(r"```\w*\n(.*?)```", page.read_text(), re.S)]
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if re.match(r"(make|\.venv/bin/python)\b", line)]


def documented(name: str, folder: Path) -> str:
    """A recipe that the docs tell people to write first; a tuned one, by what it is made of."""
    if name != "mine.yml":
        return name.partition("-tuned-")[0]
    text = (ROOT / "docs/recipes.md").read_text().partition("`mine.yml`:\n\n```yaml\n")[2]
    (folder / name).write_text(text.partition("```")[0])
    return str(folder / name)


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("make")])
def test_a_documented_make_command_parses(line: str, checkout: Path) -> None:
    done = make(checkout, *shlex.split(line, comments=True)[1:])
    assert (done.returncode, "is ignored" in done.stderr) == (0, False), done.stderr
    call = arguments(checkout)
    if call and call[1].removeprefix("scripts.") in SCRIPTS:
        args = parser_of(import_module(call[1])).parse_args(call[2:])
        game = find_game(args.game) if getattr(args, "game", "") else None
        if game and getattr(args, "recipe", ""):
            recipe = documented(args.recipe, checkout)
            file = ROOT / recipe
            load_recipe(str(file) if file.is_file() else recipe, game)


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith(".venv")])
def test_a_documented_python_command_names_a_module_and_flags_it_has(line: str) -> None:
    words = shlex.split(line, comments=True)
    assert words[1] == "-m"
    if words[2].startswith("scripts."):
        parser_of(import_module(words[2])).parse_args(words[3:])
        return
    source = Path(import_module(words[2]).__file__).read_text()
    for flag in (word for word in words[3:] if re.match(r"--?[a-z]", word)):
        assert f'"{flag}"' in source


def test_pictures_are_there_and_the_docs_name_every_target_and_variable() -> None:
    links = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert len(links) >= 2
    assert all((ROOT / link).is_file() for link in links)
    text = (ROOT / "docs/commands.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    variables = set(re.findall(r"^([A-Z_]+) \?=", makefile, re.M))
    assert {name for name in targets if f"`make {name}`" not in text} <= {"help"}
    assert all(f"`{name}`" in text for name in variables)


def test_the_page_is_what_the_committed_figures_give(tmp_path: Path) -> None:
    page = Path(shutil.copyfile(PAGE, tmp_path / "results.md"))
    draw(page, tmp_path)
    assert page.read_text() == PAGE.read_text()
    drawn = sorted(tmp_path.glob("*.png"))
    assert [file.name for file in drawn] == sorted(p.name for p in IMAGES.glob("results-*.png"))
    for file in drawn:
        pictures = (Image.open(f).convert("L") for f in (file, IMAGES / file.name))
        ours, theirs = (np.asarray(picture, dtype=float) for picture in pictures)
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).mean() < 0.1  # another release of matplotlib rounds elsewhere
