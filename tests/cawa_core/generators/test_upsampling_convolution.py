import pytest
import torch
from torch import nn
from torch.nn import functional

from cawa_core.generators.upsampling_convolution import UpsamplingConvolution


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7)])
def test_it_is_the_convolution_after_doubling(size):
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 6, 3, padding=1).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    expected = convolution(functional.interpolate(x, scale_factor=2, mode="nearest"))
    result = UpsamplingConvolution(convolution)(x)
    assert result.shape == expected.shape
    torch.testing.assert_close(result, expected, atol=1e-14, rtol=1e-12)


def test_other_convolutions_are_refused():
    with pytest.raises(ValueError, match="must be 3 x 3 with padding 1"):
        UpsamplingConvolution(nn.Conv2d(3, 6, 1))
