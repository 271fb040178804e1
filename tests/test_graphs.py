"""When a function is run eagerly, captured, replayed and captured anew; capturing needs a GPU."""

from __future__ import annotations

from types import SimpleNamespace

import torch as th

from custom.learner.cuda_graph import WARM_UPS, Captured


class Recording(Captured):
    """Writes down what it does, on any machine."""

    def __init__(self, works: bool = True) -> None:
        super().__init__(lambda: None, "function", th.device("cpu"))
        self.works = works
        self.done: list[str] = []

    def _eagerly(self) -> None:
        self.done.append("eager")

    def _capture(self) -> th.cuda.CUDAGraph | None:
        self.done.append("capture")
        replay = SimpleNamespace(replay=lambda: self.done.append("replay"))
        return replay if self.works else None  # type: ignore[return-value]


def test_eager_calls_come_before_a_capture_and_other_memory_is_captured_anew() -> None:
    function = Recording()
    assert all(function(key) for key in "aaa" + "aabb")
    again = ["capture", "replay", "replay"]
    assert function.done == ["eager"] * WARM_UPS + again + again


def test_where_it_cannot_be_captured_nothing_is_computed_and_it_is_not_tried_again() -> None:
    function = Recording(works=False)
    assert [function() for _ in range(WARM_UPS + 2)] == [True] * WARM_UPS + [False, False]
    assert function.failed
    assert function.done == ["eager"] * WARM_UPS + ["capture"]
