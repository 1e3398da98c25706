"""Networks of four common styles through hooks, and what is refused."""

import importlib
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from cawa_core.awareness import closed_form_awareness
from cawa_core.errors import InputError
from cawa_core.generators.modules import ModuleGenerator
from cawa_core.generators.small_biggan.generator import FashionBigGAN
from cawa_core.generators.small_biggan.network import Architecture, SmallBigGANNetwork
from cawa_core.interventions import Conditioning, masks_at, run

Z_DIM, N_CLASSES, CHANNELS = 5, 4, 6
PAGE = Path(__file__).parents[3] / "docs/own_generator.md"


class EmbeddingNorm(nn.Module):
    """SNGAN, SAGAN: gain and offset from embeddings of the class alone."""

    def __init__(self):
        super().__init__()
        self.bn = nn.BatchNorm2d(CHANNELS, affine=False)
        self.embed = nn.Embedding(N_CLASSES, 2 * CHANNELS)

    def forward(self, x, condition):
        gain, offset = self.embed(condition).chunk(2, dim=1)
        return gain[:, :, None, None] * self.bn(x) + offset[:, :, None, None]


class LinearNorm(nn.Module):
    """BigGAN: spectrally normalised maps of a condition, statistics in buffers of its own."""

    def __init__(self):
        super().__init__()
        self.gain = spectral_norm(nn.Linear(Z_DIM + 3, CHANNELS, bias=False))
        self.bias = spectral_norm(nn.Linear(Z_DIM + 3, CHANNELS, bias=False))
        self.register_buffer("stored_mean", torch.zeros(CHANNELS))
        self.register_buffer("stored_var", torch.ones(CHANNELS))
        self.eps = 1e-4

    def modulated(self, condition):
        return 1 + self.gain(condition), self.bias(condition)

    def forward(self, x, *, condition):
        gain, offset = self.modulated(condition)
        x = functional.batch_norm(x, self.stored_mean, self.stored_var, eps=self.eps)
        return x * gain[:, :, None, None] + offset[:, :, None, None]


class MlpNorm(EmbeddingNorm):
    """Self-modulation: a multilayer perceptron of the condition."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(Z_DIM + N_CLASSES, 8), nn.ReLU(), nn.Linear(8, 2 * CHANNELS))


class Network(nn.Module):
    """Linear layer, site, convolution at twice the size, site, image; subclasses say what a site is called with."""

    def __init__(self, norm, channels=3):
        super().__init__()
        self.linear = nn.Linear(Z_DIM, CHANNELS * 16)
        self.norm1, self.norm2 = norm(), norm()
        self.conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.to_image = nn.Conv2d(CHANNELS, channels, 3, padding=1)

    def condition(self, _z, y):
        return y

    def activated(self, norm, x, condition):
        return functional.relu(norm(x, condition), inplace=True)

    def forward(self, z, y):
        condition = self.condition(z, y)
        x = self.linear(z).unflatten(1, (CHANNELS, 4, 4))
        x = functional.interpolate(self.activated(self.norm1, x, condition), scale_factor=2)
        return torch.tanh(self.to_image(self.activated(self.norm2, self.conv(x), condition)))


class LinearNetwork(Network):
    def __init__(self, norm=LinearNorm):
        super().__init__(norm, channels=1)
        self.shared = nn.Embedding(N_CLASSES, 3)

    def condition(self, z, y):
        return torch.cat([z, self.shared(y)], dim=1)

    def activated(self, norm, x, condition):
        return functional.relu(norm(x, condition=condition))


class MlpNetwork(Network):
    """Takes one-hot classes; its first site is affine, its second is not."""

    def __init__(self):
        super().__init__(EmbeddingNorm)
        self.norm2 = MlpNorm()

    def condition(self, z, y):
        return torch.cat([z, y], dim=1)

    def activated(self, norm, x, condition):
        return super().activated(norm, x, condition if norm is self.norm2 else condition[:, Z_DIM:].argmax(dim=1))


def randomised(network, seed=0):
    """The network with random batch norm statistics."""
    torch.manual_seed(seed)
    for name, buffer in network.named_buffers():
        if name.endswith("mean"):
            buffer.normal_(std=0.3)
        elif name.endswith("var"):
            buffer.uniform_(0.5, 2.0)
    return network


def built(network, **options):
    return ModuleGenerator(randomised(network), Z_DIM, N_CLASSES, **options)


def one_hot_call(network, z, class_ids):
    return network(z, functional.one_hot(class_ids, N_CLASSES).float())


def inputs(generator, n=6):
    return generator.sample_latents(3, 1, range(n)), torch.arange(n) % generator.n_classes


def affine_values(modulation, z, embedding):
    maps = (modulation.gain, modulation.offset)
    return tuple(one.class_part(embedding) + one.latent_part(z) for one in maps)


@pytest.fixture(scope="module")
def twins():
    """The same small network seen by its own class and through hooks."""
    torch.manual_seed(0)
    network = SmallBigGANNetwork(Architecture(z_dim=6, embed_dim=5, widths=(12, 10, 8, 6)))
    randomised(network)
    for name, parameter in network.named_parameters():
        if re.search(r"norm\d\.(gain|offset)", name):
            parameter.data.normal_(std=0.06 if "gain" in name else 0.3)
    return FashionBigGAN(network, "random"), ModuleGenerator(network, 6, FashionBigGAN.classes)


def test_the_same_sites_are_found(twins):
    direct, hooked = twins
    assert hooked.sites == direct.sites
    assert (hooked.image_size, hooked.image_channels) == (28, 1)
    assert hooked.affine == (True,) * 6


@pytest.mark.parametrize("site", range(6))
def test_modulation_and_features_are_those_of_the_own_class(twins, site):
    direct, hooked = twins
    z, class_ids = inputs(direct, 20)
    expected = affine_values(direct.modulation(site), z, direct.class_embedding(class_ids))
    measured = affine_values(hooked.modulation(site), z, hooked.class_embedding(class_ids))
    torch.testing.assert_close(measured, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(hooked.sampled_modulation(site, z, class_ids), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        hooked.run_to(site, z, class_ids).features, direct.run_to(site, z, class_ids).features, atol=2e-5, rtol=0
    )


@pytest.mark.parametrize("masks", [{2: (0, 3)}, {0: (1, 2), 3: (4,), 5: (0, 5)}])
def test_masked_images_are_those_of_the_own_class(twins, masks):
    direct, hooked = twins
    z, class_ids = inputs(direct)
    expected = run(direct, z, class_ids, masks_at(masks))
    assert (expected - direct(z, class_ids)).abs().max() > 1e-3
    torch.testing.assert_close(run(hooked, z, class_ids, masks_at(masks)), expected, atol=2e-5, rtol=0)


def test_closed_form_awareness_is_that_of_the_own_class(twins):
    direct, hooked = twins
    every = torch.arange(direct.n_classes)
    for site in range(6):
        expected = closed_form_awareness(direct.modulation(site), direct.class_embedding(every))
        measured = closed_form_awareness(hooked.modulation(site), hooked.class_embedding(every))
        for name in ("category_awareness", "latent_awareness_robust", "expected_activation"):
            torch.testing.assert_close(getattr(measured, name), getattr(expected, name), atol=1e-4, rtol=1e-3)


NETWORKS = {
    "embedding": (lambda: Network(EmbeddingNorm), {}),
    "linear": (LinearNetwork, {}),
    "mlp": (MlpNetwork, {"call": one_hot_call}),
}


@pytest.mark.parametrize("style", NETWORKS)
def test_running_to_a_site_and_on_is_the_forward_pass(style):
    make, options = NETWORKS[style]
    generator = built(make(), **options)
    z, class_ids = inputs(generator)
    whole = generator(z, class_ids)
    assert [site.name for site in generator.sites] == ["norm1", "norm2"]
    assert [site.resolution for site in generator.sites] == [4, 8]
    for site in range(2):
        state = generator.run_to(site, z, class_ids)
        assert state.features.min() == 0
        assert torch.equal(generator.run_from(site, state), whole)
    embedding = generator.class_embedding(class_ids)
    assert torch.equal(generator.finish(generator.next_site(generator.begin(z, embedding))), whole)
    assert not any(module._forward_hooks for module in generator.network.modules())


def test_hooks_are_gone_after_an_error():
    generator = built(LinearNetwork())
    state = generator.run_to(0, *inputs(generator))
    with pytest.raises(RuntimeError):
        generator.run_from(0, state.with_features(state.features[:, :2]))
    assert not any(module._forward_hooks for module in generator.network.modules())


def test_states_only_move_forward():
    generator = built(LinearNetwork())
    state = generator.run_to(1, *inputs(generator))
    with pytest.raises(ValueError, match=r"site must be in \[1, 1\]"):
        generator.advance(state, 0)
    with pytest.raises(ValueError, match="taken at site 1, not at site 0"):
        generator.run_from(0, state)


def test_gains_from_class_embeddings_are_found():
    generator = built(Network(EmbeddingNorm))
    norm = generator.network.norm2
    modulation = generator.modulation(1)
    assert torch.allclose(modulation.gain.from_class.T, norm.embed.weight[:, :CHANNELS], atol=1e-6)
    assert modulation.offset.from_latent.abs().max() < 1e-6


def test_gains_from_a_condition_are_found():
    generator = built(LinearNetwork())
    z, class_ids = inputs(generator)
    network = generator.network
    expected = network.norm2.modulated(network.condition(z, class_ids))
    measured = affine_values(generator.modulation(1), z, generator.class_embedding(class_ids))
    torch.testing.assert_close(measured, expected, atol=1e-5, rtol=0)
    expected = network.norm2.modulated(network.condition(z, torch.full_like(class_ids, 2)))
    torch.testing.assert_close(generator.gains_and_offsets(1, z, 2), expected, atol=1e-5, rtol=0)


def test_gains_that_are_not_affine_are_sampled():
    generator = built(MlpNetwork(), call=one_hot_call, batch_size=4)
    assert generator.affine == (True, False)
    assert not generator.is_affine(1)
    with pytest.raises(InputError, match=r"norm2 are not affine .* use --awareness-estimators monte_carlo"):
        generator.modulation(1)
    assert generator.modulation(0).gain.from_class.shape == (CHANNELS, N_CLASSES)
    z, _ = inputs(generator, 10)
    condition = torch.cat([z, torch.eye(N_CLASSES)[[2] * 10]], dim=1)
    expected = generator.network.norm2.embed(condition).chunk(2, dim=1)
    torch.testing.assert_close(generator.gains_and_offsets(1, z, 2), expected, atol=1e-5, rtol=0)


def test_measuring_within_inference_mode_leaves_no_trace():
    generator = built(LinearNetwork())
    with torch.inference_mode():
        generator.modulation(0)
    z, class_ids = inputs(generator)
    z.requires_grad_()
    generator.modulation(0).gain.latent_part(z).sum().backward()
    generator.run_from(1, generator.run_to(1, z, class_ids)).sum().backward()


def test_the_digest_is_of_weights_and_class():
    one, same, other = (randomised(Network(EmbeddingNorm), seed) for seed in (0, 0, 1))
    same.load_state_dict(one.state_dict())
    digests = [ModuleGenerator(network, Z_DIM, N_CLASSES).digest for network in (one, same, other)]
    assert digests[0] == digests[1] != digests[2]


def test_classes_are_counted_or_named():
    names = ModuleGenerator(Network(EmbeddingNorm), Z_DIM, ("cat", "dog", "cow", "hen")).class_names
    assert names == ("cat", "dog", "cow", "hen")
    for wrong in (("cat", "cat"), "cat", 0):
        with pytest.raises(InputError, match="classes must be a number of at least 1, or a tuple of unique names"):
            ModuleGenerator(Network(EmbeddingNorm), Z_DIM, wrong)


def test_mixed_classes_are_refused():
    generator = built(LinearNetwork())
    with pytest.raises(InputError, match="embedding must be one-hot"):
        generator.begin(torch.zeros(1, Z_DIM), torch.full((1, N_CLASSES), 0.25))
    with pytest.raises(InputError, match="cannot mix classes"):
        run(generator, torch.zeros(1, Z_DIM), torch.tensor([0]), [Conditioning(0, 1)])


class PlainNorm(nn.BatchNorm2d):
    def __init__(self):
        super().__init__(CHANNELS)

    def forward(self, x, _condition):
        return super().forward(x)


class InstanceNorm(EmbeddingNorm):
    def __init__(self):
        super().__init__()
        self.bn = nn.InstanceNorm2d(CHANNELS)


class BatchStatistics(EmbeddingNorm):
    def __init__(self):
        super().__init__()
        self.bn = nn.BatchNorm2d(CHANNELS, affine=False, track_running_stats=False)


class OwnNames(LinearNorm):
    def __init__(self):
        super().__init__()
        self.mu, self.variance = torch.full((CHANNELS,), 0.4), torch.full((CHANNELS,), 2.0)
        del self.stored_mean, self.stored_var

    def forward(self, x, *, condition):
        gain, offset = self.modulated(condition)
        return functional.batch_norm(x, self.mu, self.variance) * gain[..., None, None] + offset[..., None, None]


class Counted(LinearNorm):
    """Sums of statistics over three batches, as after standing statistics."""

    def forward(self, x, *, condition):
        gain, offset = self.modulated(condition)
        x = functional.batch_norm(x, self.stored_mean / 3, self.stored_var / 3, eps=self.eps)
        return x * gain[:, :, None, None] + offset[:, :, None, None]


class Leaky(Network):
    def activated(self, norm, x, condition):
        return functional.leaky_relu(norm(x, condition), 0.2 if norm is self.norm2 else 0.0)


class Noisy(Network):
    def activated(self, norm, x, condition):
        return functional.relu(norm(x, condition) + 0.1 * torch.randn_like(x))


class Unbounded(Network):
    def forward(self, z, y):
        return 127.5 * (super().forward(z, y) + 1)


class Twice(Network):
    def activated(self, _norm, x, condition):
        return super().activated(self.norm1, x, condition)


class Several(Network):
    def forward(self, z, y):
        return super().forward(z, y), z


class Asserting(Network):
    def forward(self, z, y):
        assert z.shape[1] == 3
        return super().forward(z, y)


class Silent(Network):
    def forward(self, z, y):
        raise NotImplementedError


class WithoutGradients(Network):
    def forward(self, z, y):
        with torch.no_grad():
            return super().forward(z, y)


def test_a_pass_without_gradients_is_known():
    assert built(Network(EmbeddingNorm)).has_gradients
    assert not built(WithoutGradients(EmbeddingNorm)).has_gradients


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Several(EmbeddingNorm), r"images as one tensor; it gives a tuple"),
        (lambda: Asserting(EmbeddingNorm), r"got AssertionError"),
        (lambda: Silent(EmbeddingNorm), r"got NotImplementedError: NotImplementedError"),
        (lambda: Network(PlainNorm), r"norm1 does not depend on latent or class; .* give .* site_predicate="),
        (lambda: Network(InstanceNorm), r"norm1 is not an affine function of each channel"),
        (lambda: Leaky(EmbeddingNorm), r"norm2 is not followed by a ReLU"),
        (lambda: Noisy(EmbeddingNorm), r"same images twice in eval mode; .* noise"),
        (lambda: Network(BatchStatistics), r"independently of its batch; .* running statistics"),
        (lambda: Unbounded(EmbeddingNorm), r"images in \[-1, 1\]; got .* scale them in call"),
        (lambda: Twice(EmbeddingNorm), r"norm1 is called 2 times"),
        (lambda: LinearNetwork(OwnNames), r"it holds 0 batch norms .* give ModuleGenerator statistics="),
        (lambda: LinearNetwork(Counted), r"does not normalise by its stored_mean and stored_var alone"),
        (lambda: Network(EmbeddingNorm, channels=4), r"square images \[4, 1 or 3, side, side\]; got \[4, 4, 8, 8\]"),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_what_cannot_be_measured_is_refused(make, message):
    with pytest.raises(InputError, match=message) as refusal:
        built(make())
    assert "\n" not in str(refusal.value)


def test_wrong_sizes_are_refused():
    with pytest.raises(InputError, match=r"network must take latents \[4, 9\] .*fix z_dim or classes"):
        ModuleGenerator(Network(EmbeddingNorm), 9, N_CLASSES)
    with pytest.raises(InputError, match=r"class_ids \[4\] below 12; got IndexError"):
        ModuleGenerator(Network(EmbeddingNorm), Z_DIM, 12)
    with pytest.raises(InputError, match="image_size must be 8"):
        built(Network(EmbeddingNorm), image_size=16)


def test_statistics_can_be_given():
    generator = built(LinearNetwork(OwnNames), statistics=lambda site: (site.mu, site.variance + 1e-5))
    z, class_ids = inputs(generator)
    expected = generator.network.norm1.modulated(generator.network.condition(z, class_ids))
    measured = affine_values(generator.modulation(0), z, generator.class_embedding(class_ids))
    torch.testing.assert_close(measured, expected, atol=1e-5, rtol=0)
    with pytest.raises(InputError, match="statistics must be 6 finite numbers per site"):
        built(LinearNetwork(OwnNames), statistics=lambda site: (site.mu[:2], site.variance))


def test_sites_can_be_chosen():
    generator = built(Leaky(EmbeddingNorm), site_predicate=lambda name, _: name == "norm1")
    assert [site.name for site in generator.sites] == ["norm1"]
    for name, reason in {"conv": "conv does not depend|conv is not an affine", "nothing": "it chose none"}.items():
        with pytest.raises(InputError, match=rf"site_predicate must choose modules of the form: .*({reason})"):
            built(Network(EmbeddingNorm), site_predicate=lambda given, _, name=name: given == name)


def test_the_documented_example_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (tmp_path / "my_generator.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_generator", raising=False)
    example = importlib.import_module("my_generator")
    torch.save(randomised(example.MyGenerator()).state_dict(), tmp_path / "my_generator.pt")
    generator = example.factory()
    every = generator.class_embedding(torch.arange(3))
    for site in generator.sites:
        awareness = closed_form_awareness(generator.modulation(site.index), every)
        assert awareness.category_awareness.shape == (3, site.channels)
