"""Run a function of tensors as a CUDA graph: one launch instead of hundreds.

See https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs. A graph repeats kernel
launches on fixed memory. What can go wrong, and what prevents it:

- Random numbers: batches and noise are drawn from CUDA's default generator, which
  `torch.cuda.graph` registers with every capture and advances with every replay.
- Lazily created state: the first `WARM_UPS` calls run eagerly on the capture stream. They create
  the optimizer's state and let cuDNN choose its algorithms.
- Values that the host reads (`item`, `nonzero`, a branch on a tensor): the capture fails, and the
  caller runs the function eagerly from then on.
- Values that change between replays (learning rate, step counters, beta, size of the replay) are
  tensors on the device, changed in place. A Python number would stay what it was at the capture.
- Writes into the replay buffer between two launches of the graph: they are on the same stream, so
  they run in the order of the program.
- Memory that moves: the address of a tensor that may grow is the key, and a new key needs a new
  capture. After weights are loaded, the learner makes a new `Captured`.
- Memory that is freed: the graph owns what the capture allocates, and the function holds what it
  reads. Only the learner's `set_parameters` may replace the optimizer's state.
"""

from collections.abc import Callable, Hashable

import torch as th

from custom.system.console import say
from custom.system.errors import one_line

WARM_UPS = 3  # eager calls before the capture


class Captured:
    """Calls a function eagerly `WARM_UPS` times, then as a CUDA graph.

    :param function: has neither arguments nor a result; works on fixed tensors
    :param name: for the message if the capture fails
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
        """Run the function once.

        :param key: identifies the memory that the function uses; a new key needs a new capture
        :return: False if the capture has failed; nothing was computed then
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
        """Run on the capture stream, where lazily created state has to be allocated."""
        if self._stream is None:
            self._stream = th.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        current = th.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with th.cuda.stream(self._stream):
            self._function()
        current.wait_stream(self._stream)

    def _capture(self) -> th.cuda.CUDAGraph | None:
        """Capture the function without computing anything; None if it cannot be captured."""
        graph = th.cuda.CUDAGraph()
        current = th.cuda.current_stream(self._device)
        try:
            with th.cuda.graph(graph, stream=self._stream):
                self._function()
        except Exception as error:  # whatever an operation that cannot be captured raises
            th.cuda.set_stream(current)  # a failed capture may not restore it
            graph.reset()  # or the generator stays registered, and eager noise fails
            reason = one_line(error)[:200]
            say(f"the {self._name} is not captured as a CUDA graph ({reason}); it runs eagerly")
            return None
        return graph
