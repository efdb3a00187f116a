"""Networks: load a weight file, run tiles.

``load`` and ``identify`` take a local file; :func:`terapose.networks.weights.resolve` turns a
model's name or URL into one, without importing torch.
"""

from terapose.networks.base import Network
from terapose.networks.files import ModelInfo, identify
from terapose.networks.loading import load

__all__ = ["ModelInfo", "Network", "identify", "load"]
