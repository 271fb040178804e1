"""Damaged files give one line or are read; corpus/ has those that once gave something else."""

import random
from pathlib import Path

import pytest

from benchmarks.fuzz import Reader, damaged, problem_of, readers

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reader]:
    return {reader.name: reader for reader in readers(tmp_path_factory.mktemp("fuzz"))}


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_what_once_failed(file: Path, known: dict[str, Reader]) -> None:
    assert problem_of(known[file.stem], file.read_bytes()) == ""


def test_some_of_the_many(known: dict[str, Reader]) -> None:
    rng = random.Random(7)
    for reader in known.values():
        for _ in range(round(300 * reader.share)):
            content = damaged(rng.choice(reader.seeds), rng)
            assert problem_of(reader, content) == "", content[:2000]
