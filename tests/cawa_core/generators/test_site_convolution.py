import pytest
import torch
from torch import nn
from torch.nn import functional

from cawa_core.generators.biggan.site_convolution import PlaneConvolution, SiteConvolution, UpsamplingConvolution
from cawa_core.generators.channel_masks import ChannelMasks


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7)])
def test_it_is_the_convolution_after_doubling(size):
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 6, 3, padding=1).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    expected = convolution(functional.interpolate(x, scale_factor=2, mode="nearest"))
    result = UpsamplingConvolution(convolution)(x)
    assert result.shape == expected.shape
    torch.testing.assert_close(result, expected, atol=1e-14, rtol=1e-12)


@pytest.mark.parametrize("kind", [SiteConvolution, UpsamplingConvolution, PlaneConvolution])
@pytest.mark.parametrize("masks", [[()], [(1,), (4,)], [(0, 2), (), (5, 1)], [tuple(range(6))]])
@pytest.mark.parametrize("factor", [0, 1, 3.0, -0.5])
def test_channels_under_masks_is_convolving_again(kind, masks, factor):
    torch.manual_seed(0)
    convolution = kind(nn.Conv2d(6, 5, 3, padding=1).double())
    features = torch.randn(3, 6, 4, 7, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    outputs = convolution(features)
    expected = []
    for mask in masks:
        left = features.clone()
        left[:, list(mask)] *= factor
        expected.append(convolution(left))
    result = convolution.under_masks(outputs, features, ChannelMasks.of(masks, features.device), factor)
    torch.testing.assert_close(result, torch.cat(expected), atol=1e-13, rtol=1e-11)


def test_masks_of_a_pointwise_convolution_without_bias():
    torch.manual_seed(0)
    convolution = SiteConvolution(nn.Conv2d(4, 3, 1, bias=False).double())
    features = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    left = features.clone()
    left[:, 2] = 0
    masks = ChannelMasks.of([(2,)], features.device)
    result = convolution.under_masks(convolution(features), features, masks)
    torch.testing.assert_close(result, convolution(left), atol=1e-14, rtol=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [
        nn.Conv2d(3, 6, 3),
        nn.Conv2d(3, 6, 2, padding=1),
        nn.Conv2d(3, 6, 3, padding=1, stride=2),
        nn.Conv2d(3, 6, 3, padding=1, groups=3),
    ],
)
def test_convolutions_that_change_the_resolution_are_refused(wrong):
    with pytest.raises(ValueError, match="must keep the resolution"):
        SiteConvolution(wrong)


def test_doubling_takes_three_by_three_only():
    with pytest.raises(ValueError, match="must be 3 x 3"):
        UpsamplingConvolution(nn.Conv2d(3, 6, 1))


@pytest.mark.parametrize("planes", [1, 3])
def test_planes_are_those_of_the_convolution(planes):
    torch.manual_seed(0)
    convolution = nn.Conv2d(5, planes, 3, padding=1).double()
    features = torch.randn(2, 5, 6, 4, dtype=torch.float64)
    torch.testing.assert_close(PlaneConvolution(convolution)(features), convolution(features), atol=1e-14, rtol=1e-12)
