"""``cawa convert``: the weights of a checkpoint as a ``.safetensors`` file, with what the checkpoint does not tell."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save

from cawa_core.digests import digest_of_file
from cawa_core.errors import InputError, counted
from cawa_core.generators.biggan.flags import METADATA, TrainingFlags
from cawa_core.generators.biggan.generator import biggan_from_tensors
from cawa_core.options import validated
from cawa_core.storage import write_atomically
from cawa_core.weights import read_checkpoint
from workflows.options.convert import ConvertOptions

SUFFIX = ".safetensors"
SOURCE = "cawa.source"


def convert(path: Path, new: Path, options: ConvertOptions) -> str:
    """Write the tensors of a checkpoint to a new file, and return what was done, in one line.

    Args:
        path: checkpoint to read.
        new: file to write.
        options: key of the weights, and settings of a training run; with these, the model is built once, to check
            that they suit it.

    Raises:
        InputError: the checkpoint cannot be read, the settings do not suit it, or the file exists.
    """
    new = new.expanduser()
    if new.suffix != SUFFIX or new.exists():
        raise InputError(f"new must be a file that does not exist and ends in {SUFFIX}; got {new}")
    path = path.expanduser()
    checkpoint = read_checkpoint(path, options.key)
    before = TrainingFlags.from_metadata(checkpoint.metadata, str(path)).given()
    flags: TrainingFlags = validated(TrainingFlags, before | options.training_flags())
    source = {"file": path.name, "sha256": digest_of_file(path), "key": checkpoint.key}
    metadata = {SOURCE: json.dumps(source)}
    if flags.given():
        biggan_from_tensors(checkpoint.tensors, "", flags=flags, source=str(path))
        metadata[METADATA] = json.dumps(flags.given())
    tensors = {name: tensor.clone().contiguous() for name, tensor in checkpoint.tensors.items()}
    try:
        write_atomically(new, save(tensors, metadata))
    except OSError as error:
        raise InputError(f"new: {new} cannot be written: {error.strerror}; give another path") from None
    described = f"weights {checkpoint.key}" if checkpoint.key else "weights"
    return f"{new}: {counted(len(tensors), 'tensor')}, {described} of {path.name}"
