"""The user's own generator: any network with class-conditional batch norms, seen through hooks.

Nothing is known of the network but what can be measured: which modules are sites, by trying them; gain and
offset, from two inputs to each; what follows a site, by running the whole network with its output replaced.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cawa_core.arithmetic import full_precision
from cawa_core.class_tables import ClassTable
from cawa_core.digests import digest_of_data, digest_of_tensors
from cawa_core.errors import InputError
from cawa_core.generators.base import Generator, Modulation, Site, SiteState
from cawa_core.generators.module_hooks import Hook, Reached, hooked
from cawa_core.generators.module_images import checked_images
from cawa_core.generators.module_modulation import Pair, affine_sites, measured_modulations
from cawa_core.generators.module_reading import modulation_reader
from cawa_core.generators.module_sites import SitePredicate, find_sites
from cawa_core.generators.module_statistics import Statistics, mean_and_deviation, require_in_use
from cawa_core.seeds import standard_normal

CallNetwork = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Network, latents ``[n, z_dim]``, classes int64 ``[n]`` => images NCHW in [-1, 1]."""

PROBES = 4
"""Latents and classes that the network is tried on."""


def _call(network: nn.Module, z: Tensor, class_ids: Tensor) -> Tensor:
    return network(z, class_ids)  # type: ignore[no-any-return]


@dataclasses.dataclass(frozen=True)
class ModuleState(SiteState):
    """What a second pass needs to end as the first one would.

    Attributes:
        z: latents ``[n, z_dim]``.
        class_ids: int64 ``[n]``.
        earlier: features that replace those of earlier sites, with their sites.
    """

    z: Tensor
    class_ids: Tensor
    earlier: tuple[tuple[int, Tensor], ...] = ()

    @property
    def replaced(self) -> tuple[tuple[int, Tensor], ...]:
        """Features of earlier sites and of this one."""
        return (*self.earlier, (self.site, self.features))


class ModuleGenerator(Generator):
    """A network of the user's; its weights are frozen and it is put into eval mode.

    Args:
        network: maps latents and classes to images.
        z_dim: size of the latent code, N(0, I).
        classes: their names or number.
        call: how the network is called.
        site_predicate: which modules are sites; None: whichever turn out to be class-conditional batch norms.
        statistics: mean and variance + eps of a site's batch norm; None: its buffers ``running_mean`` and
            ``running_var``, or ``stored_mean`` and ``stored_var``.
        name: names the results.
        image_size: side of the images in pixels; measured, and checked where given.
        truncation: of the latents, in (0, 1].
        batch_size: images to a forward pass while gains and offsets are measured.

    Attributes:
        affine: one a site: are gain and offset affine in the latent, with the same latent part for all classes.

    Raises:
        InputError: the network is not of this kind; says in what.
    """

    def __init__(
        self,
        network: nn.Module,
        z_dim: int,
        classes: int | Sequence[str] | ClassTable,
        *,
        call: CallNetwork = _call,
        site_predicate: SitePredicate | None = None,
        statistics: Statistics | None = None,
        name: str = "module",
        image_size: int | None = None,
        truncation: float = 1.0,
        batch_size: int = 16,
    ) -> None:
        super().__init__()
        self.network, self.name, self.digest = network.eval().requires_grad_(False), name, digest_of_network(network)
        self.z_dim, self.classes, self.truncation = z_dim, class_table(classes), truncation
        self.embed_dim = len(self.classes)
        self._call_network, self._statistics, self._batch_size = call, statistics, batch_size
        self._modulations: dict[torch.device, dict[int, Modulation]] = {}
        with _measuring(self.device):
            self._probe(site_predicate, image_size)

    def _probe(self, site_predicate: SitePredicate | None, image_size: int | None) -> None:
        """Try the network on a few latents and classes."""
        z = standard_normal(0, 0, range(PROBES), self.z_dim).to(self.device)
        class_ids = torch.linspace(0, self.n_classes - 1, PROBES, device=self.device).long()
        images = checked_images(self.forward, z, class_ids)
        self.image_channels, self.image_size = images.shape[1:3]
        if image_size not in (None, self.image_size):
            raise InputError(f"image_size must be {self.image_size}, as the network's images are; got {image_size}")
        found = find_sites(self.network, lambda: self.forward(z, class_ids), site_predicate)
        for name, call in found.items():
            mean_and_deviation(name, call, self._statistics)
            if self._statistics is None:
                require_in_use(name, call)
        self.sites = tuple(
            Site(index, name, call.shape[1], call.shape[2]) for index, (name, call) in enumerate(found.items())
        )
        self.affine = affine_sites(partial(self._read, range(len(found))), z[:3], class_ids.unique())
        with torch.inference_mode(False), torch.enable_grad():
            self.has_gradients = self.features_and_images(z[:1].clone(), class_ids[:1].clone())[1].requires_grad
        described = [dataclasses.asdict(site) for site in self.sites]
        self.digest = digest_of_data([self.digest, described, self.classes.names])

    def is_affine(self, site: int) -> bool:
        """Whether :meth:`modulation` can say all of a site's gain and offset."""
        return self.affine[site]

    def class_embedding(self, class_ids: Tensor) -> Tensor:
        """One-hot class vectors: int64 ``[n]`` => ``[n, n_classes]``."""
        return functional.one_hot(class_ids, self.n_classes).float()

    def modulation(self, site: int) -> Modulation:
        """Gain and offset of a site as affine maps of (z, one-hot class); measured at the first call for all sites.

        Raises:
            InputError: they are not affine.
        """
        if not self.is_affine(site):
            raise InputError(
                f"gain and offset of {self.sites[site].name} are not affine in latent and class, so there is no closed "
                "form; use --awareness-estimators monte_carlo"
            )
        if self.device not in self._modulations:
            self._modulations[self.device] = self._measured_modulations()
        return self._modulations[self.device][site]

    def gains_and_offsets(self, site: int, z: Tensor, class_id: int) -> Pair:
        """Gain and offset of a site for one class, affine or not: z ``[n, z_dim]`` => ``[n, C]`` each."""
        class_ids = torch.full((len(z),), class_id, device=z.device)
        if not self.is_affine(site):
            return self.sampled_modulation(site, z, class_ids)
        modulation, embedding = self.modulation(site), self.class_embedding(class_ids[:1])
        gain, offset = modulation.gain, modulation.offset
        return (
            gain.class_part(embedding) + gain.latent_part(z),
            offset.class_part(embedding) + offset.latent_part(z),
        )

    def sampled_modulation(self, site: int, z: Tensor, class_ids: Tensor) -> Pair:
        """Gain and offset measured latent by latent: z ``[n, z_dim]``, class_ids int64 ``[n]`` => ``[n, C]`` each."""
        with _measuring(self.device):
            return self._read([site], z, class_ids)[0]

    def forward(self, z: Tensor, class_ids: Tensor) -> Tensor:
        """Images of latents ``[n, z_dim]`` and classes ``[n]``: float32 NCHW in [-1, 1]."""
        images = self._call_network(self.network, z, class_ids)
        if not isinstance(images, Tensor):
            raise InputError(
                f"network must give its images as one tensor; it gives a {type(images).__name__}: take them out in "
                "call=lambda network, z, class_ids: ..."
            )
        return images.float()

    def run_to(self, site: int, z: Tensor, class_ids: Tensor) -> ModuleState:
        """Run as far as the ReLU of ``site``: z ``[n, z_dim]``, class_ids int64 ``[n]``."""
        return self._captured(site, z, class_ids, ())

    def advance(self, state: SiteState, site: int) -> ModuleState:
        """Run on from one site to a later one (or stay), all replaced features in place."""
        assert isinstance(state, ModuleState)
        if not state.site <= site < len(self.sites):
            raise ValueError(f"site must be in [{state.site}, {len(self.sites) - 1}] to advance to; got {site}")
        return state if site == state.site else self._captured(site, state.z, state.class_ids, state.replaced)

    def begin(self, z: Tensor, embedding: Tensor) -> ModuleState:
        """State at site 0 from latents ``[n, z_dim]`` and one-hot class vectors ``[n, n_classes]``.

        Raises:
            InputError: a vector that is not one-hot, as of a mixture of classes.
        """
        class_ids = embedding.argmax(dim=1)
        if not torch.equal(self.class_embedding(class_ids), embedding.float()):
            raise InputError(f"embedding must be one-hot: {self.name} takes class indices and cannot mix classes")
        return self.run_to(0, z, class_ids)

    def next_site(self, state: SiteState) -> ModuleState:
        """State at the following site."""
        return self.advance(state, state.site + 1)

    def finish(self, state: SiteState) -> Tensor:
        """Images float32 NCHW in [-1, 1] from the state at any site."""
        assert isinstance(state, ModuleState)
        with hooked(self._replacements(state.replaced)):
            return self.forward(state.z, state.class_ids)

    def run_from(self, site: int, state: SiteState) -> Tensor:
        """Run from the ReLU of ``site`` to images: float32 NCHW in [-1, 1]."""
        if state.site != site:
            raise ValueError(f"state was taken at site {state.site}, not at site {site}")
        return self.finish(state)

    def features_and_images(self, z: Tensor, class_ids: Tensor) -> tuple[list[Tensor], Tensor]:
        """Images, and each site's output before the ReLU: where it is negative its gradient is zero."""
        outputs: dict[int, Tensor] = {}

        def recording(site: int) -> Hook:
            def record(module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> Tensor:  # noqa: ANN401, ARG001
                outputs[site] = output if output.requires_grad else output.detach().requires_grad_()
                return outputs[site].clone()  # the network may work in place on what it is given

            return record

        with hooked([(self._site_module(site), recording(site)) for site in range(len(self.sites))]):
            images = self.forward(z, class_ids)
        return [outputs[site] for site in range(len(self.sites))], images

    def _captured(
        self, site: int, z: Tensor, class_ids: Tensor, earlier: tuple[tuple[int, Tensor], ...]
    ) -> ModuleState:
        """State at a site, with features of earlier sites replaced; the pass ends there."""
        captured: list[Tensor] = []

        def capture(module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:  # noqa: ANN401, ARG001
            captured.append(functional.relu(output))
            raise Reached

        with hooked([*self._replacements(earlier), (self._site_module(site), capture)]):
            self.forward(z, class_ids)
        return ModuleState(site, captured[0], z, class_ids, earlier)

    def _replacements(self, replaced: tuple[tuple[int, Tensor], ...]) -> list[tuple[nn.Module, Hook]]:
        """Hooks that put features in place of sites' outputs: the ReLU that follows leaves them as they are."""

        def replacement(features: Tensor) -> Hook:
            # The network may work in place on what it is given.
            return lambda module, args, kwargs, output: features.clone()  # noqa: ARG005

        return [(self._site_module(site), replacement(features)) for site, features in replaced]

    def _site_module(self, site: int) -> nn.Module:
        return self.network.get_submodule(self.sites[site].name)

    def _measured_modulations(self) -> dict[int, Modulation]:
        sites = [index for index, affine in enumerate(self.affine) if affine]
        with _measuring(self.device):
            found = measured_modulations(partial(self._read, sites), self.z_dim, self.n_classes, self.device)
        return dict(zip(sites, found, strict=True))

    def _read(self, sites: Sequence[int], z: Tensor, class_ids: Tensor) -> list[Pair]:
        modules = {self.sites[site].name: self._site_module(site) for site in sites}
        return modulation_reader(self.forward, modules, self._statistics, self._batch_size)(z, class_ids)


def class_table(classes: int | Sequence[str] | ClassTable) -> ClassTable:
    """Classes by their number, names or table.

    Raises:
        InputError: there are none, or two of a name.
    """
    if isinstance(classes, ClassTable):
        return classes
    table = ClassTable.numbered(classes) if isinstance(classes, int) else ClassTable(tuple(classes))
    if isinstance(classes, str) or not len(table) or len(set(table.names)) < len(table):
        raise InputError(f"classes must be a number from 1, or a tuple of different names; got {classes!r}")
    return table


def digest_of_network(network: nn.Module) -> str:
    """SHA-256 of a network's state (names, shapes, types, values) and of its class's name."""
    state = {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}
    return digest_of_data({"class": type(network).__qualname__, "state": digest_of_tensors(state)})


@contextlib.contextmanager
def _measuring(device: torch.device) -> Iterator[None]:
    """Full precision without gradients; no inference tensors, since measured maps outlive the caller's mode."""
    with torch.inference_mode(False), torch.no_grad(), full_precision(device):
        yield
