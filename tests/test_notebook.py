"""The notebook runs from top to bottom, with a short budget, and shows a curve and a film."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT

FILE = ROOT / "notebooks" / "quickstart.ipynb"


@pytest.mark.long
def test_the_notebook(tmp_path: Path) -> None:
    notebook = nbformat.read(FILE, as_version=4)
    [parameters] = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    parameters.source += f"\nHOURS, EPISODES, LOGS = 0.001, 1, {str(tmp_path / 'my logs')!r}"
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": FILE.parent}})
    client.execute()
    pictures = [
        kind
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        for kind in output.get("data", {})
        if kind.startswith("image/")
    ]
    assert pictures == ["image/png", "image/gif"]
    assert list(tmp_path.glob("my logs/cpu/dqn/PongNoFrameskip-v4_1/hub/README.md"))
