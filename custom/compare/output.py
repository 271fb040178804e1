"""The folder of a comparison: there whole or not at all."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from custom.compare.comparison import Data
from custom.compare.page import page
from custom.compare.pictures import draw_all
from custom.compare.tables import markdown, write_csv
from custom.errors import UserError

FILMS = "films"  # what was fetched from elsewhere
OWN = re.compile(
    rf"{FILMS}|scores\.csv|compare\.json|table\.md|report\.html|"
    r"((curves|scores|pairs)-[\w-]+|profiles)\.(png|svg)"
)


def write_all(data: Data, folder: Path) -> None:
    """Write every file of a comparison into a folder that is there."""
    draw_all(data, folder)
    write_csv(data, folder / "scores.csv")
    text = json.dumps(data, indent=1, allow_nan=False)
    (folder / "compare.json").write_text(text + "\n", encoding="utf-8")
    (folder / "table.md").write_text(markdown(data), encoding="utf-8")
    (folder / "report.html").write_text(page(data, folder), encoding="utf-8")


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to write into, which is at `out` once all went well.

    :raises UserError: `out` cannot be written, or holds what no comparison wrote
    """
    _check(out)
    place = out.resolve()
    partial = place.with_name(f".{secrets.token_hex(4)}.{place.name}")
    made = [parent for parent in place.parents if not parent.exists()]
    try:
        partial.mkdir(parents=True)
        yield partial
        _replace(place, partial)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        for parent in made:
            with suppress(OSError):
                parent.rmdir()
        if isinstance(error, OSError):
            raise UserError(f"OUT {out}: cannot be written ({error.strerror})") from None
        raise


def _replace(place: Path, partial: Path) -> None:
    """Put a folder at a place where an earlier one may be."""
    if not place.exists():
        partial.rename(place)
        return
    old = partial.with_name(f"{partial.name}.old")
    place.rename(old)
    try:
        partial.rename(place)
    except BaseException:
        old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _check(out: Path) -> None:
    try:
        names = [path.name for path in out.iterdir()] if out.exists() else []
    except OSError as error:
        raise UserError(f"OUT {out}: cannot be written ({error.strerror})") from None
    foreign = sorted(name for name in names if not OWN.fullmatch(name))
    if foreign:
        raise UserError(f"OUT {out}: holds other files ({foreign[0]}); name a folder of its own")
