"""The files of a comparison, written all or none."""

from __future__ import annotations

import json
import re
from pathlib import Path

from custom.compare.comparison import Data
from custom.compare.page import page
from custom.compare.pictures import draw_all
from custom.compare.tables import markdown, write_csv
from custom.system.errors import UserError
from custom.system.files import atomic_folder

OUR_FILES = re.compile(
    r"scores\.csv|compare\.json|table\.md|report\.html|"
    r"((curves|scores|pairs)-[\w-]+|profiles)\.(png|svg)"
)


def write_report(data: Data, out: Path) -> None:
    """Write a comparison as a folder, which replaces an earlier one.

    :raises UserError: `out` cannot be written, or holds files that no comparison wrote
    """
    try:
        names = [path.name for path in out.iterdir()] if out.exists() else []
        foreign = sorted(name for name in names if not OUR_FILES.fullmatch(name))
        if foreign:
            raise UserError(f"OUT {out}: holds other files ({foreign[0]}); name another folder")
        with atomic_folder(out.resolve()) as folder:
            draw_all(data, folder)
            write_csv(data, folder / "scores.csv")
            text = json.dumps(data, indent=1, allow_nan=False)
            (folder / "compare.json").write_text(text + "\n", encoding="utf-8")
            (folder / "table.md").write_text(markdown(data), encoding="utf-8")
            (folder / "report.html").write_text(page(data), encoding="utf-8")
    except OSError as error:
        raise UserError(f"OUT {out}: cannot be written ({error.strerror})") from None
