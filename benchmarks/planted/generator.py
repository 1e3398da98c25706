"""A narrow original BigGAN at 32 pixels with random weights, and the generator factory that loads it with faults."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.planted.faults import COLLAPSE, NOISE
from cawa_core.digests import digest_of_file
from cawa_core.generators.base import Channels, Generator, MaskedImages, SiteState
from cawa_core.generators.biggan.architecture import BigGANArchitecture
from cawa_core.generators.biggan.checkpoint import BigGANCheckpoint, tensor_shapes
from cawa_core.generators.biggan.flags import TrainingFlags
from cawa_core.generators.biggan.generator import BigGAN
from cawa_core.generators.biggan.residual import ResidualState
from cawa_core.generators.class_tables import ClassTable, imagenet_classes
from cawa_core.generators.request import GeneratorRequest
from cawa_core.weights import load_tensors

CH, CHUNK, SHARED = 4, 8, 24
"""Width multiplier (16 channels per site), latents per chunk, and dimensions of the class embedding without faults."""
CLASS_SHARE, LATENT_SHARE = 1.0, 0.2
"""Standard deviations of gains and offsets over classes and over latents."""
CONTRAST = 0.7
"""Standard deviation of the image before its tanh."""
CALIBRATION_IMAGES = 1000


@dataclasses.dataclass(frozen=True)
class NoisyState(ResidualState):
    """State of a pass whose images get noise.

    Attributes:
        noise: what is added to the images, ``[n, 3, side, side]``.
    """

    noise: Tensor


class PlantedBigGAN(BigGAN):
    """An original BigGAN whose class embedding may make latents collapse, and add noise to the images."""

    name = "planted-biggan"
    collapsed_to: Tensor
    noise_of_latents: Tensor

    def __init__(self, checkpoint: BigGANCheckpoint, digest: str, truncation: float = 1.0) -> None:
        super().__init__(checkpoint, digest, truncation)
        random = torch.Generator().manual_seed(0)
        self.register_buffer("collapsed_to", torch.randn(self.architecture.chunk_size, generator=random))
        patterns = torch.randn(self.z_dim, 3 * self.image_size**2, generator=random) / self.z_dim**0.5
        self.register_buffer("noise_of_latents", patterns)
        self.classes = classes_of(self.n_classes)

    def stem(self, z: Tensor, embedding: Tensor) -> Tensor:
        """Compute the first feature map, from latents that may have collapsed."""
        collapse = embedding[:, COLLAPSE, None]
        chunk = z[:, : self.architecture.chunk_size]
        collapsed = chunk + collapse * (self.collapsed_to - chunk)
        return super().stem(torch.cat([collapsed, z[:, self.architecture.chunk_size :]], dim=1), embedding)

    def begin(self, z: Tensor, embedding: Tensor) -> NoisyState:
        """Compute the state at site 0, and the noise of the image."""
        state = super().begin(z, embedding)
        noise = embedding[:, NOISE, None] * (z @ self.noise_of_latents)
        fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
        return NoisyState(**fields, noise=noise.unflatten(1, (3, self.image_size, self.image_size)))

    def finish(self, state: SiteState) -> Tensor:
        """Compute images, with their noise."""
        assert isinstance(state, NoisyState)
        images = super().finish(state)
        return (images.unflatten(0, (-1, len(state.noise))) + state.noise).clamp(-1, 1).flatten(0, 1)

    def under_masks(self, state: SiteState, masks: Sequence[Channels], factor: float = 0) -> MaskedImages:
        """Prepare the images under masks; at the last site by whole passes, since the image's noise comes after it."""
        if state.site == len(self.sites) - 1:
            return Generator.under_masks(self, state, masks, factor)
        return super().under_masks(state, masks, factor)


def classes_of(count: int) -> ClassTable:
    """Return the first classes of ImageNet, so that there are names and WordNet ids to search by.

    Raises:
        ValueError: ImageNet has fewer classes.
    """
    table = imagenet_classes()
    if not 1 <= count <= len(table):
        raise ValueError(f"count must be in 1..{len(table)}; got {count}")
    return ClassTable(table.names[:count], table.wordnet_ids[:count], table.synonyms[:count])


def factory(request: GeneratorRequest) -> PlantedBigGAN:
    """Load the generator from the file that ``python -m benchmarks planted`` wrote.

    Raises:
        InputError: the file does not hold such a model.
    """
    path = request.weights.file(request.name)
    return generator_of(load_tensors(path), digest_of_file(path), request.truncation)


def generator_of(tensors: dict[str, Tensor], digest: str = "healthy", truncation: float = 1.0) -> PlantedBigGAN:
    """Build the generator from its tensors."""
    return PlantedBigGAN(BigGANCheckpoint(tensors, TrainingFlags(), "tensors"), digest, truncation)


def healthy_tensors(n_classes: int, seed: int) -> dict[str, Tensor]:
    """Draw the weights of a generator without faults, with batch norm statistics that fit them.

    Args:
        n_classes: number of classes.
        seed: seed of the weights.
    """
    architecture = BigGANArchitecture(
        ch=CH,
        n_blocks=3,
        bottom_width=4,
        n_classes=n_classes,
        shared_dim=SHARED + 2,
        z_dim=4 * CHUNK,
        hierarchical=True,
        attention_blocks=(),
        batch_norm="plain",
        n_singular_values=0,
    )
    random = torch.Generator().manual_seed(seed)
    shapes = tensor_shapes(architecture)
    tensors = {name: _initial(name, shape, random) for name, shape in shapes.items()}
    tensors["shared.weight"][:, [COLLAPSE, NOISE]] = 0
    return _calibrated(tensors, random)


def _initial(name: str, shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    """Draw one tensor: random directions of unit variance for weights, neutral values for everything else."""
    values = torch.randn(shape, generator=random)
    if name.endswith(("gain.weight", "bias.weight")):  # of a site: columns of the class, the faults and the latents
        values[:, :SHARED] *= CLASS_SHARE / SHARED**0.5
        values[:, SHARED : SHARED + 2] = 0
        values[:, SHARED + 2 :] *= LATENT_SHARE / CHUNK**0.5
        return values
    if name == "shared.weight":
        return values
    if name.endswith(".weight"):
        return values / values[0].numel() ** 0.5
    return torch.ones(shape) if name.endswith((".gain", "stored_var")) else torch.zeros(shape)


@torch.inference_mode()
def _calibrated(tensors: dict[str, Tensor], random: torch.Generator) -> dict[str, Tensor]:
    """Set the statistics of each batch norm, in forward order, to those of its input, and the image's contrast."""
    n_classes = len(tensors["shared.weight"])
    z = torch.randn(CALIBRATION_IMAGES, 4 * CHUNK, generator=random)
    class_ids = torch.randint(n_classes, (CALIBRATION_IMAGES,), generator=random)
    norms = [*(f"blocks.{block}.0.{half}" for block in range(3) for half in ("bn1", "bn2")), "output_layer.0"]
    for place, norm in enumerate(norms):
        inputs = _norm_inputs(generator_of(tensors), z, class_ids)
        tensors[f"{norm}.stored_mean"] = inputs[place].mean(dim=(0, 2, 3))
        tensors[f"{norm}.stored_var"] = inputs[place].var(dim=(0, 2, 3))
    generator = generator_of(tensors)
    last = _norm_inputs(generator, z, class_ids)[-1]
    features = functional.relu(last * generator.output_scale[..., None, None] + generator.output_shift[..., None, None])
    tensors["output_layer.2.weight"] *= CONTRAST / generator.to_image(features).std()
    return tensors


def _norm_inputs(generator: PlantedBigGAN, z: Tensor, class_ids: Tensor) -> list[Tensor]:
    """Return the input of every batch norm, the last one included, ``[n, C, H, W]`` each."""
    inputs: list[Tensor] = []
    activate = generator.activate

    def recorded(x: Tensor, scale: Tensor, shift: Tensor, *, owned: bool = False) -> Tensor:
        inputs.append(x.clone())
        return activate(x, scale, shift, owned=owned)

    generator.activate = recorded
    generator(z, class_ids)
    generator.activate = activate
    return inputs
