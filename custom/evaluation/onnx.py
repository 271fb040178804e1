"""An agent as ``agent.onnx``: screens in, action values out, the same as PyTorch's."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm

from custom.evaluation.baselines import held_out_states
from custom.runs.agents import action_values, load_agent
from custom.runs.folder import Run
from custom.system.errors import UserError
from custom.system.files import atomic_file

ONNX_FILE = "agent.onnx"
SCREENS = 64
TOLERANCE = 1e-4  # of the largest value, which counts as 1 at least: the rounding of float32
INSTALL = ".venv/bin/pip install -c constraints.txt -e '.[onnx]'"


class ActionValues(th.nn.Module):
    """`action_values` of an agent as a module, which is what PyTorch exports."""

    def __init__(self, model: BaseAlgorithm) -> None:
        super().__init__()
        self.policy = model.policy
        self._model = model

    def forward(self, screens: th.Tensor) -> th.Tensor:
        """(B, C, H, W), uint8, to (B, A)."""
        return action_values(self._model, screens)


def export_onnx(run: Run, file: Path) -> tuple[Path, float]:
    """Write ``agent.onnx`` into the folder of a run, once ONNX Runtime agrees with PyTorch.

    Its input ``screens`` is (B, C, H, W), uint8, as the replay holds them; its output ``values``
    is (B, A), float32; B is free.

    :param file: an agent of the run
    :return: the file, and the largest difference of a value on `SCREENS` screens of the game
    :raises UserError: a package is missing, the agent cannot be exported or is damaged, or ONNX
        Runtime disagrees; of the last two no file is left
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # which PyTorch's exporter imports
    except ImportError as error:
        raise UserError(f"ONNX: {error.name} is not installed; {INSTALL}") from None
    network, path = ActionValues(load_agent(run, file, "cpu")).eval(), run.path / ONNX_FILE
    screens = held_out_states(run.game, run.hyperparams, 0)[:SCREENS]
    try:
        content = exported(network, screens[:2])
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        [values] = session.run(["values"], {"screens": screens})
    except Exception as error:  # whatever PyTorch and ONNX make of an unknown network
        path.unlink(missing_ok=True)
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{file}: its network cannot be exported to ONNX ({reason})") from None
    with th.no_grad():
        expected = network(th.as_tensor(screens)).numpy()
    difference = float(np.abs(values - expected).max())
    if not difference <= TOLERANCE * max(1.0, np.abs(expected).max()):
        path.unlink(missing_ok=True)
        raise UserError(f"{file}: its values in ONNX differ by {difference:.2g} from PyTorch's")
    with atomic_file(path) as opened:
        opened.write(content)
    return path, difference


def exported(network: th.nn.Module, screens: npt.NDArray[np.uint8]) -> bytes:
    """The file's content, without what PyTorch adds of this machine: the paths of its code.

    :param screens: two or more, which PyTorch needs to see that their number is free
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # or it misses torchvision
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch against itself
        program: Any = th.onnx.export(
            network,
            (th.as_tensor(screens),),
            input_names=["screens"],
            output_names=["values"],
            dynamic_shapes=({0: th.export.Dim("batch")},),
            verbose=False,
        )
    graph = program.model.graph
    for part in (graph, *graph):
        part.metadata_props.clear()
    content: bytes = program.model_proto.SerializeToString()
    return content
