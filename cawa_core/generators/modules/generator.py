"""The user's own generator: any network with class-conditional batch norms, accessed through hooks.

Everything about the network is measured: modules are sites if they behave like one, gain and offset follow from two
inputs to each site, and to continue from a site, the whole network runs with the site's output replaced.
"""

from __future__ import annotations

import contextlib
import dataclasses
import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cawa_core.digests import digest_of_data, digest_of_tensors
from cawa_core.errors import InputError
from cawa_core.generators.base import Generator, Modulation, Site, SiteState, class_ids_of
from cawa_core.generators.class_tables import ClassTable
from cawa_core.generators.modules.hooks import Hook, Reached, hooked
from cawa_core.generators.modules.images import checked_images
from cawa_core.generators.modules.modulation import Pair, affine_sites, measured_modulations
from cawa_core.generators.modules.reading import modulation_reader
from cawa_core.generators.modules.sites import SitePredicate, find_sites
from cawa_core.generators.modules.statistics import Statistics, mean_and_deviation, require_in_use
from cawa_core.numerics.arithmetic import full_precision
from cawa_core.numerics.latents import standard_normal

CallNetwork = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Function that calls a network with latents ``[n, z_dim]`` and classes int64 ``[n]``; returns images NCHW."""

PROBES = 4
"""Number of latents and classes that the network is tested on."""


def _call(network: nn.Module, z: Tensor, class_ids: Tensor) -> Tensor:
    return network(z, class_ids)  # type: ignore[no-any-return]


@dataclasses.dataclass(frozen=True)
class ModuleState(SiteState):
    """State at a site, with everything that another pass needs to continue from it.

    Attributes:
        z: latents ``[n, z_dim]``.
        class_ids: classes, int64 ``[n]``.
        earlier: earlier sites and the features that replace theirs.
    """

    z: Tensor
    class_ids: Tensor
    earlier: tuple[tuple[int, Tensor], ...] = ()

    @property
    def replaced(self) -> tuple[tuple[int, Tensor], ...]:
        """Sites and their replaced features, up to this site."""
        return (*self.earlier, (self.site, self.features))


class ModuleGenerator(Generator):
    """A generator made from the user's network; the network is frozen and put into eval mode.

    Args:
        network: network from latents and classes to images.
        z_dim: size of the latent code, N(0, I).
        classes: names or number of the classes; numbers may be names.
        call: function that calls the network; its images must be in [-1, 1].
        site_predicate: function that decides which modules are sites; None selects all class-conditional batch norms.
        statistics: function that returns mean and variance + eps of a site's batch norm; None reads its buffers
            ``running_mean`` and ``running_var``, or ``stored_mean`` and ``stored_var``.
        name: name of the generator in the results.
        image_size: side of the images in pixels; it is measured, and compared with this unless None.
        truncation: truncation of the latents, in (0, 1].
        batch_size: images per forward pass while gains and offsets are measured.

    Attributes:
        affine: for each site, whether gain and offset are affine in the latent, with one latent part for all classes.

    Raises:
        InputError: the network does not have the required form; the message says why.
    """

    takes_embeddings = False

    def __init__(
        self,
        network: nn.Module,
        z_dim: int,
        classes: int | Sequence[str | int] | ClassTable,
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
        self.network = network.eval().requires_grad_(False)
        self.name = name
        self.digest = digest_of_network(network)
        self.z_dim = z_dim
        self.classes = class_table(classes)
        self.truncation = truncation
        self.embed_dim = len(self.classes)
        self._call_network = call
        self._statistics = statistics
        self._batch_size = batch_size
        self._modulations: dict[torch.device, dict[int, Modulation]] = {}
        with _measuring(self.device):
            self._probe(site_predicate, image_size)

    def _probe(self, site_predicate: SitePredicate | None, image_size: int | None) -> None:
        """Find the network's images, sites and properties on a few latents and classes."""
        z = standard_normal(0, 0, range(PROBES), self.z_dim).to(self.device)
        class_ids = torch.linspace(0, self.n_classes - 1, PROBES, device=self.device).long()
        images = checked_images(self.forward, z, class_ids)
        self.image_channels, self.image_size = images.shape[1:3]
        if image_size not in (None, self.image_size):
            raise InputError(f"image_size must be {self.image_size}, as the network's images are; got {image_size}")
        calls = find_sites(self.network, lambda: self.forward(z, class_ids), site_predicate)
        for name, call in calls.items():
            mean_and_deviation(name, call, self._statistics)
            if self._statistics is None:
                require_in_use(name, call)
        self.sites = tuple(
            Site(index, name, call.shape[1], call.shape[2]) for index, (name, call) in enumerate(calls.items())
        )
        self.affine = affine_sites(partial(self._read, range(len(calls))), z[:3], class_ids.unique())
        with torch.inference_mode(False), torch.enable_grad():
            self.has_gradients = self.features_and_images(z[:1].clone(), class_ids[:1].clone())[1].requires_grad
        site_data = [dataclasses.asdict(site) for site in self.sites]
        self.digest = digest_of_data([self.digest, site_data, self.classes.names])

    def is_affine(self, site: int) -> bool:
        """Return whether a site's gain and offset are affine, so that :meth:`modulation` exists."""
        return self.affine[site]

    def class_embedding(self, class_ids: Tensor) -> Tensor:
        """Return one-hot class vectors: int64 ``[n]`` => ``[n, n_classes]``."""
        return functional.one_hot(class_ids, self.n_classes).float()

    def modulation(self, site: int) -> Modulation:
        """Return gain and offset of a site as affine maps of (z, one-hot class); the first call measures all sites.

        Raises:
            InputError: gain and offset are not affine.
        """
        if not self.is_affine(site):
            raise InputError(
                f"gain and offset of {self.sites[site].name} are not affine in latent and class, so there is no closed "
                "form; use --awareness-estimators monte_carlo"
            )
        if self.device not in self._modulations:
            self._modulations[self.device] = self._measure_modulations()
        return self._modulations[self.device][site]

    def gains_and_offsets(self, site: int, z: Tensor, class_id: int) -> Pair:
        """Return gain and offset of a site for one class, affine or not: z ``[n, z_dim]`` => ``[n, C]`` each."""
        if self.is_affine(site):
            return super().gains_and_offsets(site, z, class_id)
        return self.sampled_modulation(site, z, class_ids_of(class_id, z))

    def sampled_modulation(self, site: int, z: Tensor, class_ids: Tensor) -> Pair:
        """Measure gain and offset latent by latent: z ``[n, z_dim]``, class_ids int64 ``[n]`` => ``[n, C]`` each."""
        with _measuring(self.device):
            return self._read([site], z, class_ids)[0]

    def forward(self, z: Tensor, class_ids: Tensor) -> Tensor:
        """Compute images, float32 NCHW in [-1, 1], of latents ``[n, z_dim]`` and classes ``[n]``."""
        images = self._call_network(self.network, z, class_ids)
        if not isinstance(images, Tensor):
            raise InputError(
                f"network must give its images as one tensor; it gives a {type(images).__name__}: extract them in "
                "call=lambda network, z, class_ids: ..."
            )
        return images.float()

    def run_to(self, site: int, z: Tensor, class_ids: Tensor) -> ModuleState:
        """Run up to the ReLU of ``site``: z ``[n, z_dim]``, class_ids int64 ``[n]``."""
        return self._run_with_replacements(site, z, class_ids, ())

    def advance(self, state: SiteState, site: int) -> ModuleState:
        """Run from one site to a later one, or stay there; all replaced features stay replaced."""
        assert isinstance(state, ModuleState)
        if not state.site <= site < len(self.sites):
            raise ValueError(f"site must be in [{state.site}, {len(self.sites) - 1}] to advance to; got {site}")
        if site == state.site:
            return state
        return self._run_with_replacements(site, state.z, state.class_ids, state.replaced)

    def begin(self, z: Tensor, embedding: Tensor) -> ModuleState:
        """Return the state at site 0 for latents ``[n, z_dim]`` and one-hot class vectors ``[n, n_classes]``.

        Raises:
            InputError: a vector is not one-hot, for example a mixture of classes.
        """
        class_ids = embedding.argmax(dim=1)
        if not torch.equal(self.class_embedding(class_ids), embedding.float()):
            raise InputError(f"embedding must be one-hot: {self.name} takes class indices and cannot mix classes")
        return self.run_to(0, z, class_ids)

    def next_site(self, state: SiteState) -> ModuleState:
        """Return the state at the next site."""
        return self.advance(state, state.site + 1)

    def finish(self, state: SiteState) -> Tensor:
        """Compute images, float32 NCHW in [-1, 1], from the state at any site."""
        assert isinstance(state, ModuleState)
        with hooked(self._replacements(state.replaced)):
            return self.forward(state.z, state.class_ids)

    def run_from(self, site: int, state: SiteState) -> Tensor:
        """Run from the ReLU of ``site`` to images, float32 NCHW in [-1, 1]."""
        if state.site != site:
            raise ValueError(f"state was taken at site {state.site}, not at site {site}")
        return self.finish(state)

    def features_and_images(self, z: Tensor, class_ids: Tensor) -> tuple[list[Tensor], Tensor]:
        """Compute each site's output before its ReLU, and images; the gradient of a negative output is zero."""
        outputs: dict[int, Tensor] = {}

        def recorder(site: int) -> Hook:
            def record(module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> Tensor:  # noqa: ANN401, ARG001
                outputs[site] = output if output.requires_grad else output.detach().requires_grad_()
                return outputs[site].clone()  # the network may modify it in place

            return record

        with hooked([(self._site_module(site), recorder(site)) for site in range(len(self.sites))]):
            images = self.forward(z, class_ids)
        return [outputs[site] for site in range(len(self.sites))], images

    def _run_with_replacements(
        self, site: int, z: Tensor, class_ids: Tensor, earlier: tuple[tuple[int, Tensor], ...]
    ) -> ModuleState:
        """Run up to the ReLU of ``site``, with features of earlier sites replaced."""
        features: list[Tensor] = []

        def capture(module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:  # noqa: ANN401, ARG001
            features.append(functional.relu(output))
            raise Reached

        with hooked([*self._replacements(earlier), (self._site_module(site), capture)]):
            self.forward(z, class_ids)
        return ModuleState(site, features[0], z, class_ids, earlier)

    def _replacements(self, replaced: tuple[tuple[int, Tensor], ...]) -> list[tuple[nn.Module, Hook]]:
        """Return hooks that replace sites' outputs by features, which the following ReLU leaves unchanged."""

        def replacement(features: Tensor) -> Hook:
            # Clone, because the network may modify it in place.
            return lambda module, args, kwargs, output: features.clone()  # noqa: ARG005

        return [(self._site_module(site), replacement(features)) for site, features in replaced]

    def _site_module(self, site: int) -> nn.Module:
        return self.network.get_submodule(self.sites[site].name)

    def _measure_modulations(self) -> dict[int, Modulation]:
        sites = [index for index, affine in enumerate(self.affine) if affine]
        with _measuring(self.device):
            modulations = measured_modulations(partial(self._read, sites), self.z_dim, self.n_classes, self.device)
        return dict(zip(sites, modulations, strict=True))

    def _read(self, sites: Sequence[int], z: Tensor, class_ids: Tensor) -> list[Pair]:
        modules = {self.sites[site].name: self._site_module(site) for site in sites}
        return modulation_reader(self.forward, modules, self._statistics, self._batch_size)(z, class_ids)


def class_table(classes: int | Sequence[str | int] | ClassTable) -> ClassTable:
    """Build a class table from a number, names or a table; numbers as names become text.

    Raises:
        InputError: there are no classes, a name cannot be shown, or two classes have the same name.
    """
    if isinstance(classes, ClassTable):
        return classes
    table = ClassTable(())
    if isinstance(classes, Integral) and not isinstance(classes, bool):
        table = ClassTable.numbered(int(classes))
    elif isinstance(classes, Iterable) and not isinstance(classes, str):
        table = ClassTable.named(classes)
    if not len(table) or len(set(table.names)) < len(table):
        raise InputError(
            f"classes must be a number of at least 1, or a tuple of unique names; got {reprlib.repr(classes)}"
        )
    return table


def digest_of_network(network: nn.Module) -> str:
    """Return the SHA-256 of a network's state (names, shapes, types, values) and its Python class's name."""
    state = {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}
    return digest_of_data({"class": type(network).__qualname__, "state": digest_of_tensors(state)})


@contextlib.contextmanager
def _measuring(device: torch.device) -> Iterator[None]:
    """Compute in full precision and without gradients; not in inference mode, as measured maps outlive the caller's."""
    with torch.inference_mode(False), torch.no_grad(), full_precision(device):
        yield
