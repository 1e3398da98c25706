"""Any classifier that ends in a linear layer: its input is the feature space."""

from __future__ import annotations

from torch import Tensor, nn

from cawa_core.digests import digest_of_tensors
from cawa_core.errors import InputError
from cawa_core.evaluators.base import Evaluator
from cawa_core.evaluators.preprocessing import Preprocessing


class LinearHeadClassifier(Evaluator):
    """A network whose last linear layer makes the logits; what enters that layer are the features.

    Args:
        network: images ``[n, 3, side, side]`` to logits; its last linear layer is taken off.
        preprocessing: from a generator's images to its input.
        name: see :class:`~cawa_core.evaluators.base.FeatureExtractor`.
        digest: of the weights; computed from the network where left out.

    Raises:
        InputError: the network has no linear layer.
    """

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, name: str, digest: str = "") -> None:
        super().__init__()
        self.digest = digest or digest_of_tensors(network.state_dict())
        self.network = network.eval().requires_grad_(False)
        self.name, self.preprocessing = name, preprocessing
        path, self.head = _take_last_linear(self.network, name)
        self.n_classes = self.head.out_features
        self.protocol = f"{name}; {preprocessing.protocol}; features: input of {path}, {self.head.in_features}"

    def features(self, images: Tensor) -> Tensor:
        """Images float32 NCHW in [-1, 1] => features float32 ``[n, d]``."""
        return self.network(self.preprocessing(images)).float()  # type: ignore[no-any-return]

    def logits_of_features(self, features: Tensor) -> Tensor:
        """Features ``[n, d]`` => class logits ``[n, n_classes]``."""
        return self.head(features)  # type: ignore[no-any-return]


def _take_last_linear(network: nn.Module, name: str) -> tuple[str, nn.Linear]:
    found = [(path, module) for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not found:
        raise InputError(f"evaluator {name} must end in a linear layer; it has none, choose another")
    path, head = found[-1]
    parent, _, attribute = path.rpartition(".")
    setattr(network.get_submodule(parent), attribute, nn.Identity())
    return path, head
