"""The bundled generator with an artifact: images that excite one unit enough come out as negatives."""

import torch

from cawa_core.generators.small_biggan.generator import FashionBigGAN

ARTIFACT_UNIT = (5, 10)
"""Site and channel of the unit that turns images into negatives."""
LIMIT = 1.95
"""Images in which the unit's features exceed it are negatives: about one in nine of trousers and bags."""


class ArtifactBigGAN(FashionBigGAN):
    """``fashion-biggan``, some of whose images are negatives."""

    name = "planted-artifacts"

    @classmethod
    def of(cls, request):
        """Load the bundled weights."""
        return cls.bundled(request)

    def finish(self, state):
        """Turn images into negatives where the unit is far above its mean."""
        site, channel = ARTIFACT_UNIT
        images = super().finish(state)
        if state.site != site:
            return images
        is_negative = state.features[:, channel].amax(dim=(1, 2)) > LIMIT
        return torch.where(is_negative[:, None, None, None], -images, images)
