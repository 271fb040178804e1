"""Size of the project: lines, modules, functions, import cycles, words.

python -m benchmarks.house [folder of another checkout]
"""

import ast
import statistics
import sys
from pathlib import Path

import grimp


def functions(file: Path) -> list[int]:
    """Lines of each function of a file."""
    nodes = ast.walk(ast.parse(file.read_text()))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [(n.end_lineno or 0) - n.lineno + 1 for n in nodes if isinstance(n, kinds)]


def cycles(root: Path) -> int:
    """Groups of modules that import each other in a circle."""
    sys.path.insert(0, str(root))
    graph = grimp.build_graph("custom", "scripts", cache_dir=None)
    below = {module: graph.find_downstream_modules(module) for module in graph.modules}
    circle = {module for module, reached in below.items() if module in reached}
    return len({frozenset(below[module] & circle) for module in circle})


def main(root: Path) -> None:
    """Print the figures of a checkout."""
    code = [file for name in ("custom", "scripts") for file in (root / name).rglob("*.py")]
    lengths = {file: len(file.read_text().splitlines()) for file in code}
    longest = max(lengths, key=lambda file: lengths[file])
    tests = list((root / "tests").rglob("*.py"))
    rows = {
        "lines of custom/ and scripts/": sum(lengths.values()),
        "files directly in custom/": len(list((root / "custom").glob("*.py"))),
        "longest module": f"{lengths[longest]} ({longest.relative_to(root)})",
        "median function, lines": statistics.median(n for file in code for n in functions(file)),
        "import cycles": cycles(root),
        "words of the README": len((root / "README.md").read_text().split()),
        "lines of tests": sum(len(file.read_text().splitlines()) for file in tests),
        "lines of recipes": sum(
            len(file.read_text().splitlines()) for file in (root / "hyperparams").glob("*.yml")
        ),
    }
    for name, value in rows.items():
        print(f"{name:32} {value}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve())
