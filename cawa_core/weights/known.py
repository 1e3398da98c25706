"""Downloadable files by model."""

from __future__ import annotations

import dataclasses
from importlib import import_module

from cawa_core.errors import InputError, suggestion


@dataclasses.dataclass(frozen=True)
class KnownFile:
    """A downloadable file of a model.

    Attributes:
        filename: name in the cache.
        url: location of the file.
        sha256_prefix: first digits of its SHA-256 in hexadecimal; None if none were published.
    """

    filename: str
    url: str
    sha256_prefix: str | None = None


def _biggan_deep(resolution: int) -> tuple[KnownFile, ...]:
    folder = "https://s3.amazonaws.com/models.huggingface.co/biggan"
    names = ("pytorch_model.bin", "config.json")
    return tuple(KnownFile(name, f"{folder}/biggan-deep-{resolution}-{name}") for name in names)


def _torchvision(filename: str) -> tuple[KnownFile, ...]:
    """Describe a file of torchvision, whose name ends with the first eight digits of its SHA-256."""
    prefix = filename.removesuffix(".pth").rsplit("-", 1)[1]
    return (KnownFile(filename, f"https://download.pytorch.org/models/{filename}", sha256_prefix=prefix),)


TORCHVISION = "torchvision/"
"""Prefix of the names of torchvision's classifiers."""


def _torchvision_default(name: str) -> tuple[KnownFile, ...]:
    """Describe the weights that torchvision itself uses by default."""
    models = import_module("torchvision.models")  # takes two seconds, so import it only when needed
    architecture = name.removeprefix(TORCHVISION)
    known = models.list_models(module=models)
    if architecture not in known:
        raise InputError(f"weights: {architecture} is not a torchvision classifier{suggestion(architecture, known)}")
    return _torchvision(models.get_model_weights(architecture).DEFAULT.url.rsplit("/", 1)[1])


KNOWN: dict[str, tuple[KnownFile, ...]] = {
    "biggan-deep-128": _biggan_deep(128),
    "biggan-deep-256": _biggan_deep(256),
    "biggan-deep-512": _biggan_deep(512),
    "inception-v3": _torchvision("inception_v3_google-0cc3c7bd.pth"),
    "vgg16": _torchvision("vgg16-397923af.pth"),
    "fid-inception": (
        KnownFile(
            "weights-inception-2015-12-05-6726825d.pth",
            "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
            "weights-inception-2015-12-05-6726825d.pth",
            sha256_prefix="6726825d",
        ),
    ),
}


def is_known(name: str) -> bool:
    """Return whether a model's files can be fetched."""
    return name.startswith(TORCHVISION) or name in KNOWN


def known_file(name: str, filename: str) -> KnownFile:
    """Return a model's file by its name.

    Raises:
        InputError: the model is not known, or has no such file.
    """
    files = {file.filename: file for file in known_files(name)}
    if filename not in files:
        raise InputError(
            f"weights of {name} can be fetched as {', '.join(files)}; got {filename!r}: give --weights PATH, "
            f"a folder that holds it"
        )
    return files[filename]


def known_files(name: str) -> tuple[KnownFile, ...]:
    """Return all files of a model.

    Raises:
        InputError: the model is not known.
    """
    if name.startswith(TORCHVISION):
        return _torchvision_default(name)
    if name not in KNOWN:
        raise InputError(
            f"weights of {name} are not known to be downloadable; give --weights PATH{suggestion(name, KNOWN)}"
        )
    return KNOWN[name]
