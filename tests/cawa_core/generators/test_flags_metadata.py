"""Settings beside the tensors of a ``.safetensors`` file that are damaged."""

import pytest

from cawa_core.errors import InputError
from cawa_core.generators.biggan.flags import METADATA, TrainingFlags


@pytest.mark.parametrize("text", ["[", "3", "[" * 100_000, '{"no_such_setting": 1}'])
def test_damaged_settings_are_refused_in_one_line(text):
    with pytest.raises(InputError, match="convert the weights again"):
        TrainingFlags.from_metadata({METADATA: text}, "weights")
