"""Features extractors: convolutions of any shape, frames apart or together, and Impala's.

SB3's `NatureCNN` stays the default; these are for what it cannot be set to.
"""

import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from torch import nn

NATURE = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
IMPALA = (16, 32, 32)
Kernel = int | tuple[int, int]  # the same in both directions, or (vertical, horizontal)


class _Convolutions(BaseFeaturesExtractor):
    """Convolutions of the frames, flattened together, and dense layers."""

    def __init__(
        self,
        observation_space: spaces.Box,
        convolutions: list[nn.Module],
        hidden: list[int] | tuple[int, ...],
        activation: type[nn.Module],
        frames: int = 1,
    ) -> None:
        cnn = nn.Sequential(*convolutions, nn.Flatten())
        channels, *size = observation_space.shape
        with th.no_grad():
            width = frames * cnn(th.zeros(1, channels // frames, *size)).shape[1]
        super().__init__(observation_space, features_dim=[width, *hidden][-1])
        self.frames = frames
        self.cnn = cnn
        self.linear = nn.Sequential(*create_mlp(width, -1, list(hidden), activation))

    def forward(self, observations: th.Tensor) -> th.Tensor:
        """(B, frames * channels, height, width) in [0, 1] to (B, features_dim)."""
        batch, _, *size = observations.shape
        apart = observations.reshape(batch * self.frames, -1, *size)
        features: th.Tensor = self.linear(self.cnn(apart).reshape(batch, -1))
        return features


class ConvNet(_Convolutions):
    """Convolutions, flattened, and dense layers.

    :param observation_space: (frames * channels, height, width), uint8
    :param filters: for each layer its channels, kernel and stride; kernel and stride are a number
        or (vertical, horizontal). Default: those of Mnih et al. 2015
    :param hidden: units of each dense layer; none leaves them to the head
    :param activation: name of a `torch.nn` module, after every layer
    :param frames: above 1, this many frames go through the convolutions one by one, and what comes
        out is flattened together
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        filters: list[tuple[int, Kernel, Kernel]] | tuple[tuple[int, int, int], ...] = NATURE,
        hidden: list[int] | tuple[int, ...] = (512,),
        activation: str = "ReLU",
        frames: int = 1,
    ) -> None:
        activate = getattr(nn, activation)
        layers: list[nn.Module] = []
        last = observation_space.shape[0] // frames
        for width, kernel, stride in filters:
            layers += [nn.Conv2d(last, width, kernel, stride), activate()]
            last = width
        super().__init__(observation_space, layers, hidden, activate, frames)


class ImpalaCNN(_Convolutions):
    """The residual network of Espeholt et al. 2018 (figure 3, right): 15 convolutions.

    :param observation_space: (channels, height, width), uint8
    :param width: factor of the channels 16, 32 and 32
    :param hidden: units of each dense layer; none leaves them to the head
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        width: int = 1,
        hidden: list[int] | tuple[int, ...] = (512,),
    ) -> None:
        layers: list[nn.Module] = []
        last = observation_space.shape[0]
        for channels in (width * channels for channels in IMPALA):
            layers += [
                nn.Conv2d(last, channels, 3, padding=1),
                nn.MaxPool2d(3, stride=2, padding=1),
                Residual(channels),
                Residual(channels),
            ]
            last = channels
        super().__init__(observation_space, [*layers, nn.ReLU()], hidden, nn.ReLU)


class Residual(nn.Module):
    """Two convolutions with a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: th.Tensor) -> th.Tensor:
        """(B, channels, height, width) to the same."""
        inner: th.Tensor = self.second(th.relu(self.first(th.relu(x))))
        return x + inner
