"""A function of tensors as a captured CUDA graph: one launch instead of hundreds.

See https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs. A graph repeats launches on
fixed memory. Each hazard of that, and why it is none here:

- Random numbers: the draws of a batch and of noise use CUDA's default generator, which
  `torch.cuda.graph` registers with every capture and advances with every replay.
- Lazily made state: the first calls run eagerly on the stream of the capture, so that an
  optimizer's averages and cuDNN's choices exist before it.
- Values asked for by the host (`item`, `nonzero`, a branch on a tensor): refused by CUDA during
  the capture, which then fails as a whole; the function then runs eagerly.
- Learning rate, step counters, beta and the size of the replay are tensors on the device, changed
  in place; as numbers of Python they would stay what they were at the capture.
- Writes into the replay between replays: they are launched on the stream on which the graph is
  replayed, so they come before or after it as in the program.
- Memory that moves (the room for last frames grows, weights are loaded): it is part of the key, or
  the learner makes a new `Captured`.
- Memory that is freed: what a capture allocates belongs to the graph's own pool. What it reads is
  held by the function, unless somebody replaces the optimizer's averages: load them by the model's
  `set_parameters`, which makes a new `Captured`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch as th

from custom.console import say

WARM_UPS = 3  # eager calls before the capture


class Captured:
    """Calls a function as a graph, after a few eager calls.

    :param function: without arguments and result
    :param name: for the notice where capturing fails
    :param device: a GPU
    """

    def __init__(self, function: Callable[[], None], name: str, device: th.device) -> None:
        self._function = function
        self._name = name
        self._graph: th.cuda.CUDAGraph | None = None
        self._key: Hashable = None
        self._calls = 0
        self._device = device
        self._stream: th.cuda.Stream | None = None
        self.failed = False

    def __call__(self, key: Hashable = None) -> bool:
        """Run once.

        :param key: identifies the memory that the function uses; where it changed, the graph is
            captured anew
        :return: False where it cannot be captured; nothing has been computed then
        """
        if self.failed:
            return False
        if self._calls < WARM_UPS:
            self._calls += 1
            self._eagerly()
            return True
        if self._graph is None or key != self._key:
            self._key = key
            self._graph = self._capture()
        if self._graph is None:
            self.failed = True
            return False
        self._graph.replay()
        return True

    def _eagerly(self) -> None:
        """On a stream of its own, as a capture will be: memory is then laid out alike."""
        if self._stream is None:
            self._stream = th.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        waiting = th.cuda.current_stream(self._device)
        self._stream.wait_stream(waiting)
        with th.cuda.stream(self._stream):
            self._function()
        waiting.wait_stream(self._stream)

    def _capture(self) -> th.cuda.CUDAGraph | None:
        """Nothing is computed while a graph is captured, so a failure loses nothing."""
        graph = th.cuda.CUDAGraph()
        before = th.cuda.current_stream(self._device)
        try:
            with th.cuda.graph(graph, stream=self._stream):
                self._function()
        except Exception as error:  # whatever an operation that cannot be captured raises
            th.cuda.set_stream(before)  # which a capture that fails may not give back
            graph.reset()  # or the generator stays registered, and eager noise fails
            reason = " ".join(str(error).split())[:200]
            say(f"the {self._name} is not captured as a CUDA graph ({reason}); it runs eagerly")
            return None
        return graph
