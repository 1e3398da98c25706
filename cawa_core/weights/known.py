"""The files that can be fetched, by model."""

from __future__ import annotations

import dataclasses
from importlib import import_module

from cawa_core.errors import InputError, suggestion


@dataclasses.dataclass(frozen=True)
class KnownFile:
    """One file of a model on the network.

    Attributes:
        filename: its name in the cache.
        url: where it comes from.
        sha256_prefix: the first digits of its SHA-256 in hexadecimal; None where none were published.
    """

    filename: str
    url: str
    sha256_prefix: str | None = None


def _biggan_deep(resolution: int) -> tuple[KnownFile, ...]:
    folder = "https://s3.amazonaws.com/models.huggingface.co/biggan"
    names = ("pytorch_model.bin", "config.json")
    return tuple(KnownFile(name, f"{folder}/biggan-deep-{resolution}-{name}") for name in names)


def _torchvision(filename: str) -> tuple[KnownFile, ...]:
    """Torch hub writes the first eight digits of the SHA-256 at the end of the name."""
    prefix = filename.removesuffix(".pth").rsplit("-", 1)[1]
    return (KnownFile(filename, f"https://download.pytorch.org/models/{filename}", sha256_prefix=prefix),)


TORCHVISION = "torchvision/"
"""Names of torchvision's classifiers begin so."""


def _default_of_torchvision(name: str) -> tuple[KnownFile, ...]:
    """The weights that torchvision itself uses by default."""
    models = import_module("torchvision.models")  # two seconds: only where asked for
    architecture = name.removeprefix(TORCHVISION)
    known = models.list_models(module=models)
    if architecture not in known:
        raise InputError(f"weights: {architecture} is no classifier of torchvision{suggestion(architecture, known)}")
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
    """Whether a model's files can be fetched."""
    return name.startswith(TORCHVISION) or name in KNOWN


def known_file(name: str, filename: str) -> KnownFile:
    """The file of that name of a model.

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
    """All files of a model.

    Raises:
        InputError: the model is not known.
    """
    if name.startswith(TORCHVISION):
        return _default_of_torchvision(name)
    if name not in KNOWN:
        raise InputError(
            f"weights of {name} are not known to be downloadable; give --weights PATH{suggestion(name, KNOWN)}"
        )
    return KNOWN[name]
