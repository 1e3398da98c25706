import pytest
import torch

from cawa_core.errors import InputError
from cawa_core.numerics.arithmetic import PRECISIONS, arithmetic, full_precision, require_precision

CPU = torch.device("cpu")


def tf32_allowed():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("precision", PRECISIONS)
def test_each_precision_lasts_as_long_as_its_context(precision):
    before = tf32_allowed()
    with arithmetic(precision, CPU):
        assert tf32_allowed() == ((True, True) if precision == "tf32" else (False, False))
        product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert product.dtype == {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision, torch.float32)
    assert tf32_allowed() == before
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_statistics_are_in_full_precision_inside_a_lower_one(precision):
    with arithmetic(precision, CPU), full_precision(CPU):
        assert tf32_allowed() == (False, False)
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_an_error_inside_restores_what_was_there():
    before = tf32_allowed()
    with pytest.raises(RuntimeError), arithmetic("tf32", CPU):
        raise RuntimeError
    assert tf32_allowed() == before


def test_tf32_needs_cuda():
    require_precision("tf32", torch.device("cuda:1"))
    require_precision("bfloat16", CPU)
    with pytest.raises(InputError, match=r"dtype tf32 needs --device cuda.*got cpu: use float32"):
        require_precision("tf32", CPU)
