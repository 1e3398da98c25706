"""``cawa latents --dimension`` and ``--channel``: what drives what, in closed form, without a sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from cawa_core.errors import InputError
from cawa_core.latents.dimensions import LATENT, DimensionUnits
from cawa_core.latents.drives import drives
from workflows.analyses.directions.command import LatentsCommandOptions
from workflows.lab import Lab


def require_drive(command: LatentsCommandOptions, lab: Lab) -> None:
    """Check that the generator has the dimension or the channel, and a closed form there.

    Raises:
        InputError: it does not.
    """
    generator = lab.generator
    size = generator.z_dim if command.space == LATENT else generator.embed_dim
    if command.dimension >= size:
        raise InputError(
            f"dimension must be in 0..{size - 1} for the {command.space} space of {generator.name}; got "
            f"{command.dimension}"
        )
    if command.site >= 0:
        generator.require_channels(command.site, (command.channel,))
    if (command.dimension >= 0 or command.site >= 0) and not lab.is_affine:
        raise InputError(f"{generator.name} has no closed form: its gains and offsets are not affine at every site")


def drive_lines(lab: Lab, command: LatentsCommandOptions) -> tuple[list[str], dict[str, Any]]:
    """List the channels that a dimension drives, or the dimensions that drive a channel, for the first class.

    Channels of all sites are compared by the change of the expected activation, in standard deviations of the channel's
    input, per standard deviation of the dimension.
    """
    class_id = lab.class_ids[0]
    embedding = lab.class_embeddings[class_id : class_id + 1]
    units = DimensionUnits.of(lab.generator)
    sites = [command.site] if command.site >= 0 else [site.index for site in lab.generator.sites]
    rows = []
    for site in sites:
        driven = drives(lab.generator.modulation(site), embedding, units)
        activation, awareness = driven.activation[command.space], driven.awareness[command.space]
        inert = lab.generator.sites[site].inert_channels
        channels = [command.channel] if command.site >= 0 else sorted(set(range(len(activation))).difference(inert))
        dimensions = [command.dimension] if command.dimension >= 0 else range(activation.shape[1])
        rows += [
            {
                "site": site,
                "channel": channel,
                "dimension": dimension,
                "activation": float(activation[channel, dimension]),
                "category_awareness": float(awareness[channel, dimension]),
            }
            for channel in channels
            for dimension in dimensions
        ]
    rows.sort(key=lambda row: -abs(np.nan_to_num(row["activation"])))
    rows = rows[: command.listed]
    lines = [f"{lab.generator.class_names[class_id]}, {command.space} space; per standard deviation of the dimension"]
    lines += ["site  channel  dimension  expected activation  awareness"]
    for row in rows:
        place = f"{row['site']:4} {row['channel']:8} {row['dimension']:10}"
        lines.append(f"{place} {row['activation']:+20.4f} {row['category_awareness']:+10.4f}")
    return lines, {"class_id": class_id, "space": command.space, "drives": rows}
