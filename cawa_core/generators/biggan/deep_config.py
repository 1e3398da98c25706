"""``config.json`` of a BigGAN-deep: its keys, and what each may be."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pytorch_pretrained_biggan.config import BigGANConfig

from cawa_core.errors import InputError
from cawa_core.options import option
from cawa_core.weights.record import was_fetched

FIRST_SIDE = 4
FIRST_WIDTH = 16
MAX_SIDE = 4096
MAX_WIDTH = 4096
SHOWN_LETTERS = 100

Width = Annotated[int, Field(ge=1, le=FIRST_WIDTH)]
Layer = tuple[bool, Width, Width]


@dataclasses.dataclass(frozen=True)
class DeepConfig:
    """Sizes of a BigGAN-deep, with the keys of pytorch-pretrained-biggan; defaults are those of 128 pixels."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    output_dim: Annotated[int, Field(ge=FIRST_SIDE, le=MAX_SIDE)] = option(128, "a side in pixels, 4 to 4096")
    z_dim: Annotated[int, Field(ge=1, le=MAX_WIDTH)] = option(128, "a whole number from 1 to 4096")
    class_embed_dim: Annotated[int, Field(ge=1, le=MAX_WIDTH)] = option(128, "a whole number from 1 to 4096")
    channel_width: Annotated[int, Field(ge=4, le=MAX_WIDTH)] = option(128, "a whole number from 4 to 4096")
    num_classes: Annotated[int, Field(ge=1, le=10**6)] = option(1000, "a whole number from 1 to 1000000")
    layers: Annotated[list[Layer], Field(min_length=1, max_length=100)] = option(
        None, "a list of [upsamples (true or false), width before, width after (1 to 16)]"
    )
    attention_layer_position: Annotated[int, Field(ge=-1, le=100)] = option(
        8, "the number of the layer behind the attention, from 0, or -1 for none"
    )
    eps: Annotated[float, Field(gt=0, le=0.1)] = option(1e-4, "a number above 0 and at most 0.1")
    n_stats: Annotated[int, Field(ge=2, le=10_001)] = option(51, "a whole number from 2 to 10001")

    def faults(self) -> dict[str, str]:
        """Describe what does not go together, by key."""
        faults = {}
        widths = [(before, after) for _, before, after in self.layers]
        joined = all(left[1] == right[0] for left, right in pairwise(widths))
        halved = all(after == before or 2 * after == before for before, after in widths)
        if widths[0][0] != FIRST_WIDTH or widths[-1][1] != 1 or not joined or not halved:
            faults["layers"] = (
                f"from width {FIRST_WIDTH} to 1, each beginning where the one before ends, and keeping or halving it"
            )
        side = FIRST_SIDE * 2 ** sum(upsamples for upsamples, _, _ in self.layers)
        if side != self.output_dim:
            faults.setdefault("output_dim", f"{side}, the side after the layers that upsample")
        if self.attention_layer_position >= len(self.layers):
            faults["attention_layer_position"] = f"below {len(self.layers)}, the number of layers"
        return faults


def read_config(path: Path) -> BigGANConfig:
    """Read the ``config.json`` of a model.

    Raises:
        InputError: the file is not a JSON object, has keys that BigGAN-deep does not know or lacks some, or a value
            is not one of those allowed.
    """
    again = "remove it to have it fetched again" if was_fetched(path) else "copy it again"
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"weights: {path} cannot be read: {error.strerror}; fix that, or give --weights") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"weights: {path} is not JSON: {error}; {again}") from None
    known = {field.name: field.metadata["help"] for field in dataclasses.fields(DeepConfig)}
    if not isinstance(values, dict) or not {"output_dim", "layers", "channel_width"} <= set(values) <= set(known):
        raise InputError(f"weights: {path} must hold the keys {', '.join(sorted(known))}; it is of another model")
    try:
        config: DeepConfig = TypeAdapter(DeepConfig).validate_json(json.dumps(values))
        faults = config.faults()
    except ValidationError as error:
        place = error.errors(include_url=False)[0]["loc"]
        if not place:  # text that is not Unicode, which JSON can spell
            raise InputError(f"weights: {path} holds text that is not Unicode; {again}") from None
        faults = {str(place[0]): known[str(place[0])]}
    for key, allowed in faults.items():
        raise InputError(f"weights: {path}: {key} must be {allowed}; got {_shown(values.get(key))}: {again}")
    return BigGANConfig.from_dict(dataclasses.asdict(config))


def _shown(value: Any) -> str:  # noqa: ANN401
    text = json.dumps(value)
    return text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}…"
