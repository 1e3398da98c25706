"""Layouts as files: a PNG as large as the images, whose colours say what its pixels should show.

Transparent and black pixels may show anything, so strokes can be painted on an empty layer or on black. A file
``labels.json`` in the same folder names the colours, as in a folder of annotations; without it they are those of
:func:`palette_of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from cawa_core.annotations import LABELS, Colour, Painted, code_of, parsed_colours
from cawa_core.errors import InputError, bounded, listed
from cawa_core.generators.base import Generator
from cawa_core.labels import NOTHING
from cawa_core.paths import user_path
from cawa_core.rendering.label_colours import label_colours
from cawa_core.semantics.layouts import ANYTHING

WHITE: Colour = (255, 255, 255)
"""Colour of pixels that should show none of the labels."""
BLACK: Colour = (0, 0, 0)


def palette_of(categories: Sequence[str]) -> dict[str, Colour]:
    """Return the colour of each category in a painted layout; ``nothing`` is white, since black may show anything."""
    colours = label_colours(len(categories) - 1).tolist()
    return {NOTHING: WHITE} | {
        name: (red, green, blue) for name, (red, green, blue) in zip(categories[1:], colours, strict=True)
    }


def read_layout(path: str, generator: Generator, categories: Sequence[str], argument: str = "layout") -> Tensor:
    """Read a painted layout.

    Args:
        path: path of the PNG.
        generator: generator of the images that the layout is for.
        categories: names of the categories that can be asked for, ``nothing`` first.
        argument: name of the argument that the path came from, for an error.

    Returns:
        Wanted categories, int64 ``[S, S]`` on the device of the generator; ``ANYTHING`` where they do not matter.

    Raises:
        InputError: the file cannot be read, has another size, a colour without a name or no label at all; or
            ``labels.json`` names a label that is not a category; one line.
    """
    try:
        content = user_path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{argument} {path} cannot be read: {error.strerror}") from None
    colours, source = _colours_beside(path, categories)
    label_of = {code_of(BLACK): ANYTHING} | {
        code_of(colour): categories.index(name) for name, colour in colours.items()
    }
    painted = Painted.of(path, content, generator)
    pixels = np.where(painted.opaque[..., None], painted.pixels, np.uint8(0))
    known = f"{source} does not name this colour; paint with hard edges and the colours of `cawa sample`"
    wanted = Painted(path, pixels, painted.opaque).labels(label_of, known)
    if (wanted == ANYTHING).all():
        raise InputError(f"{path} is black or transparent everywhere and asks for nothing; paint what it should show")
    return torch.from_numpy(wanted.astype(np.int64)).to(generator.device)


def _colours_beside(path: str, categories: Sequence[str]) -> tuple[Mapping[str, Colour], str]:
    """Return the colours of the labels and what names them: the file beside a layout, or the standard palette."""
    beside = user_path(path).parent / LABELS
    if not beside.is_file():
        return palette_of(categories), "the standard palette"
    colours = parsed_colours(str(beside), beside.read_bytes())
    for name in colours:
        if name not in categories:
            raise InputError(
                f"{beside} names {bounded(name)}, which is not read off the features; the labels are "
                f"{listed(categories[1:])}"
            )
    return colours, str(beside)
