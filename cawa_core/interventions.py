"""Interventions, which change the features at a site of a generator, or the condition of its later sites.

At chosen channels of a site, ``features' = lerp(features, target, weight)``. Masks, edits, soft sets of channels and
transplants are interventions on features; style mixing is one on the class embedding. Everything is differentiable in
features, targets and weights; callers choose whether to use ``torch.inference_mode``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional

from cawa_core.errors import InputError
from cawa_core.generators.base import Channels, Generator, SiteState, class_ids_of
from cawa_core.numerics.transfers import to_device

START = -1
"""Site of a :class:`Conditioning` that applies from the beginning, including the stem."""
SiteMasks = Mapping[int, Channels]
"""Channels to set to zero, by site."""


@dataclasses.dataclass(frozen=True)
class Constant:
    """Set features to a value: one for all channels, or ``[c]``, one per channel."""

    value: float | Tensor

    def of(self, features: Tensor) -> Tensor:
        """Return the target of features ``[n, c, H, W]``."""
        return torch.zeros_like(features) + _per_channel(self.value, features)


@dataclasses.dataclass(frozen=True)
class Scale:
    """Multiply features by a factor: one for all channels, or ``[c]``, one per channel."""

    factor: float | Tensor

    def of(self, features: Tensor) -> Tensor:
        """Return the target of features ``[n, c, H, W]``."""
        return features * _per_channel(self.factor, features)


@dataclasses.dataclass(frozen=True)
class Shift:
    """Add an amount to features: one for all channels, ``[c]``, one per channel, or ``[n, c, H, W]``, one per value."""

    amount: float | Tensor

    def of(self, features: Tensor) -> Tensor:
        """Return the target of features ``[n, c, H, W]``."""
        return features + _per_channel(self.amount, features)


@dataclasses.dataclass(frozen=True)
class OtherClass:
    """Take the features that the same latents have at the site as images of another class."""

    class_id: int


Target = Constant | Scale | Shift | OtherClass


@dataclasses.dataclass(frozen=True)
class Intervention:
    """A change of some channels' features at one site, just after its ReLU.

    Attributes:
        site: index of the site.
        channels: channels of the site; an empty set changes nothing.
        target: new features where the weight is 1.
        weight: soft set of channels in [0, 1] ``[c]``; None for 1.
        region: where features change, in [0, 1] and as large as the images: ``[S, S]`` for all of them or
            ``[n, S, S]``, averaged down to the site's resolution; None for everywhere.
    """

    site: int
    channels: Channels
    target: Target
    weight: Tensor | None = None
    region: Tensor | None = None

    def check(self, generator: Generator) -> None:
        """Check that the intervention fits a generator.

        Raises:
            InputError: the generator does not have the site, a channel or the class, or the target, weight or region
                has another size.
        """
        generator.require_channels(self.site, self.channels or (0,))
        if isinstance(self.target, OtherClass):
            generator.require_class(self.target.class_id)
        per_channel = (len(self.channels),)
        side = generator.image_size
        for value in vars(self.target).values():
            if isinstance(value, Tensor) and value.shape != per_channel and not self._is_per_value(value):
                raise InputError(f"target must be a number or [{len(self.channels)}]; got {list(value.shape)}")
        if self.weight is not None and self.weight.shape != per_channel:
            raise InputError(
                f"weight must be [{len(self.channels)}], one per channel; got {list(self.weight.shape)}: give where "
                "features change as region"
            )
        if self.region is not None and (self.region.ndim not in (2, 3) or self.region.shape[-2:] != (side, side)):
            raise InputError(
                f"region must be as large as the images, [{side}, {side}] or [n, {side}, {side}]; got "
                f"{list(self.region.shape)}"
            )

    def _is_per_value(self, value: Tensor) -> bool:
        """Return whether a target has one number for each value of the features ``[n, c, H, W]``."""
        return isinstance(self.target, Shift) and value.ndim == 4 and value.shape[1] == len(self.channels)

    def weight_at(self, features: Tensor) -> Tensor | None:
        """Return the weight of each value of features ``[n, c, H, W]``; None for 1 everywhere."""
        if self.weight is None and self.region is None:
            return None
        weight = features.new_ones(()) if self.weight is None else self.weight.to(features)[:, None, None]
        if self.region is not None:
            region = self.region.to(features)
            region = region[:, None] if region.ndim == 3 else region[None, None]
            height, width = features.shape[2:]
            weight = weight * functional.adaptive_avg_pool2d(region, (height, width))
        return weight.expand_as(features)


@dataclasses.dataclass(frozen=True)
class Conditioning:
    """A change of the class embedding or the latents of all layers after a site; features up to the site stay.

    Attributes:
        site: index of the last site that stays unchanged; ``START`` if none does.
        embedding: index of a class, or class embedding ``[embed_dim]`` or ``[n, embed_dim]``; None for no change.
        z: latents ``[z_dim]`` or ``[n, z_dim]``; None for no change.
    """

    site: int
    embedding: int | Tensor | None = None
    z: Tensor | None = None

    def check(self, generator: Generator) -> None:
        """Check that the change fits a generator.

        Raises:
            InputError: the generator does not have the site or the class.
        """
        if self.site != START:
            generator.require_sites([self.site])
        if isinstance(self.embedding, int):
            generator.require_class(self.embedding)


Change = Intervention | Conditioning


def masks_at(masks: SiteMasks) -> tuple[Intervention, ...]:
    """Return the interventions that set channels to zero at any number of sites."""
    return tuple(Intervention(site, channels, Constant(0)) for site, channels in masks.items())


def run(generator: Generator, z: Tensor, class_ids: Tensor, changes: Sequence[Change]) -> Tensor:
    """Generate images under interventions at any sites, or unchanged images without any.

    Args:
        generator: generator of the images.
        z: latents ``[n, z_dim]``.
        class_ids: classes of the latents, int64 ``[n]``.
        changes: interventions in any order; they apply in the order of their sites, and in this order within a site.

    Returns:
        Images ``[n, C, H, W]`` in [-1, 1].

    Raises:
        InputError: an intervention does not fit the generator, or the generator cannot change its class.
    """
    return _Pass(generator, z, class_ids, z).images(_in_site_order(generator, changes))


def run_with_features(
    generator: Generator, z: Tensor, class_ids: Tensor, sites: Sequence[int], changes: Sequence[Change] = ()
) -> tuple[list[Tensor], Tensor]:
    """Generate images as :func:`run`, and keep the features of some sites.

    Args:
        generator: generator of the images.
        z, class_ids: latents ``[n, z_dim]`` and classes ``[n]``.
        sites: sites whose features are kept, ascending.
        changes: interventions, as for :func:`run`.

    Returns:
        Features after the ReLU and after the changes of their site, ``[n, C, H, W]`` for each of ``sites``; and images
        ``[n, C, S, S]`` in [-1, 1].

    Raises:
        InputError: see :func:`run`.
    """
    remaining = _in_site_order(generator, changes)
    current = _Pass(generator, z, class_ids, z)
    features = []
    for site in sites:
        while remaining and remaining[0].site <= site:
            current = current.under(remaining.pop(0))
        features.append(current.advance(site).features)
    return features, current.images(remaining)


def sweep(
    generator: Generator, z: Tensor, class_ids: Tensor, variants: Sequence[Sequence[Change]], batch_size: int = 1
) -> Iterator[tuple[Sequence[int], Tensor]]:
    """Yield the images of many variants of the same latents; the pass up to their first sites is computed once.

    Variants that only mask or scale channels of one site go through the network together, by
    :meth:`Generator.under_masks`, which agrees with :func:`run` up to rounding; all others equal it bit for bit.

    Args:
        generator: generator of the images.
        z: latents ``[n, z_dim]``.
        class_ids: classes of the latents, int64 ``[n]``.
        variants: interventions of each variant, as for :func:`run`.
        batch_size: images per pass for variants that go together.

    Yields:
        Indices of variants and their images ``[len(indices) · n, C, H, W]``, variant by variant; by first site, and
        there by number of channels for those that go together.

    Raises:
        InputError: see :func:`run`.
    """
    ordered = [_in_site_order(generator, variant) for variant in variants]
    by_site: dict[int, list[int]] = {}
    for index, changes in enumerate(ordered):
        by_site.setdefault(changes[0].site if changes else START, []).append(index)
    trunk = _Pass(generator, z, class_ids, z)
    for site, indices in sorted(by_site.items()):
        if site != START:
            trunk.advance(site)
        masks = _masks_by_factor({index: ordered[index] for index in indices})
        for factor, channels in masks.items():
            yield from trunk.under_masks(channels, factor, max(1, batch_size // len(z)))
        together = {index for channels in masks.values() for index in channels}
        for index in indices:
            if index not in together:
                yield (index,), trunk.images(ordered[index])


@dataclasses.dataclass
class _Pass:
    """Pass of latents through a generator, up to some site, with states of the classes whose features it borrows.

    Attributes:
        generator: generator of the images.
        z, class_ids: latents and classes that later sites are conditioned on; an embedding replaces the classes.
        latents: latents that the pass began with; donors have the same.
        embedding: class embedding of later sites ``[n, embed_dim]``; None for that of ``class_ids``.
        state: state at the last site that was reached; None if nothing has been computed.
        donors: by class, state of the same latents as images of that class, at this site or before it.
    """

    generator: Generator
    z: Tensor
    class_ids: Tensor
    latents: Tensor
    embedding: Tensor | None = None
    state: SiteState | None = None
    donors: dict[int, SiteState] = dataclasses.field(default_factory=dict)

    def advance(self, site: int) -> SiteState:
        """Run up to the ReLU of a site."""
        if self.state is not None:
            self.state = self.generator.advance(self.state, site)
        elif self.embedding is None:
            self.state = self.generator.run_to(site, self.z, self.class_ids)
        else:
            self.state = self.generator.advance(self.generator.begin(self.z, self.embedding), site)
        return self.state

    def images(self, changes: Sequence[Change]) -> Tensor:
        """Return the images under changes in site order; this pass stays at the site of the first."""
        current = self
        for change in changes:
            current = current.under(change)
        state = current.state or current.advance(0)
        return self.generator.run_from(state.site, state)

    def under(self, change: Change) -> _Pass:
        """Return the pass under a change at its site or a later one."""
        return self.conditioned(change) if isinstance(change, Conditioning) else self.changed(change)

    def changed(self, change: Intervention) -> _Pass:
        """Return the pass with other features at some channels; donors stay with this one, for its other variants."""
        state = self.advance(change.site)
        index = to_device(torch.tensor(change.channels, dtype=torch.int64), state.features.device)
        features = state.features.index_select(1, index)
        if isinstance(change.target, OtherClass):
            target = self._donor(change.target.class_id).features.index_select(1, index)
        else:
            target = change.target.of(features)
        weight = change.weight_at(features)
        if weight is not None:
            target = torch.lerp(features, target, weight)
        # A clone keeps the memory format, and so the convolution's rounding; index_copy would not.
        state = state.with_features(state.features.clone().index_copy_(1, index, target))
        return dataclasses.replace(self, state=state, donors=dict(self.donors))

    def conditioned(self, change: Conditioning) -> _Pass:
        """Return the pass with all later sites under another embedding or other latents."""
        z = self.z if change.z is None else change.z.expand_as(self.z)
        embedding = self.embedding
        if isinstance(change.embedding, int):
            embedding = self.generator.class_embedding(class_ids_of(change.embedding, z))
        elif change.embedding is not None:
            embedding = change.embedding.expand(len(z), -1)
        if change.site == START:
            return dataclasses.replace(self, z=z, latents=z, embedding=embedding, state=None, donors={})
        state = self.advance(change.site)
        if embedding is None:
            embedding = self.generator.class_embedding(self.class_ids)
        state = self.generator.reconditioned(state, z, embedding)
        return dataclasses.replace(self, z=z, embedding=embedding, state=state, donors=dict(self.donors))

    def under_masks(
        self, masks: Mapping[int, Channels], factor: float, at_once: int
    ) -> Iterator[tuple[Sequence[int], Tensor]]:
        """Yield indices of masks of the site and their images; at most ``at_once`` of one width together."""
        assert self.state is not None
        order = sorted(masks, key=lambda index: len(masks[index]))
        images = self.generator.under_masks(self.state, [masks[index] for index in order], factor)
        start = 0
        for width, group in groupby(order, key=lambda index: len(masks[index])):
            end = start + len(list(group))
            # Empty masks go alone, each in a batch of the same form: on some processors a matrix product rounds a row
            # by its place among the others, and an empty mask must change nothing.
            step = at_once if width else 1
            for first in range(start, end, step):
                part = slice(first, min(first + step, end))
                yield order[part], images(part)
            start = end

    def _donor(self, class_id: int) -> SiteState:
        """Return the state of the same latents at the site as images of another class."""
        assert self.state is not None
        site = self.state.site
        if class_id in self.donors:
            self.donors[class_id] = self.generator.advance(self.donors[class_id], site)
        else:
            self.donors[class_id] = self.generator.run_to(site, self.latents, class_ids_of(class_id, self.latents))
        return self.donors[class_id]


def _in_site_order(generator: Generator, changes: Sequence[Change]) -> list[Change]:
    for change in changes:
        change.check(generator)
    return sorted(changes, key=lambda change: change.site)


def _masks_by_factor(variants: Mapping[int, Sequence[Change]]) -> dict[float, dict[int, Channels]]:
    """Group the variants that only multiply channels of one site, everywhere, by their factor."""
    by_factor: dict[float, dict[int, Channels]] = {}
    for index, changes in variants.items():
        if len(changes) != 1 or not isinstance(changes[0], Intervention):
            continue
        if changes[0].weight is not None or changes[0].region is not None:
            continue
        target = changes[0].target
        if isinstance(target, Scale) and not isinstance(target.factor, Tensor):
            by_factor.setdefault(target.factor, {})[index] = changes[0].channels
        elif isinstance(target, Constant) and not isinstance(target.value, Tensor) and target.value == 0:
            by_factor.setdefault(0.0, {})[index] = changes[0].channels
    return by_factor


def _per_channel(value: float | Tensor, features: Tensor) -> float | Tensor:
    """Reshape a value per channel ``[c]`` so that it broadcasts over features ``[n, c, H, W]``; others stay."""
    if not isinstance(value, Tensor):
        return value
    return value.to(features) if value.ndim == 4 else value.to(features)[:, None, None]
