"""Options from ``audit.toml`` and the command line into one spec and one set of run options."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from cawa_core.errors import InputError, bounded, first_line, suggestion
from cawa_core.generators import GENERATORS
from cawa_core.options import option, validated
from cawa_core.paths import user_path
from workflows.analyses import ANALYSES
from workflows.options.audit import AuditSpec, audit_spec_type

if TYPE_CHECKING:
    from cawa_core.weights import WeightStore


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """How an audit is run: with the same weights and real images, nothing here changes a number beyond rounding."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    HEADING: ClassVar[str] = "How to run it"

    output: str = option(
        "",
        "Audit folder, or its s3://, gs:// or az:// URL; by default results/GENERATOR. An existing audit is extended.",
    )
    replace: tuple[str, ...] = option(
        (),
        "Stages of an existing folder to compute again with the given options; the old results stay until the new "
        "ones are complete.",
    )
    executor: Literal["ray", "inline"] = option(
        "ray", "Where shards run: ray (all cores, or the cluster of RAY_ADDRESS) or inline (this process)."
    )
    workers: Annotated[int, Field(ge=0)] = option(0, "Ray workers; 0 starts one for each GPU or CPU core.")
    weights: tuple[str, ...] = option(
        (),
        "Path of the generator's weights, or NAME=PATH for any model; other weights come from the cache or are "
        "fetched.",
    )
    class_folders: str = option("", "CSV or JSON file that maps the folders in --real-images to classes.")
    minimum_real_accuracy: Annotated[float, Field(ge=0, le=1)] = option(
        0.2,
        "Stop if the evaluator assigns a smaller share of the real images to the class of their folder; 0 never stops.",
    )
    maximum_unreadable: Annotated[float, Field(ge=0, le=1)] = option(
        0.1, "Stop if a larger share of a class's real images cannot be read; 1 leaves out any number of them."
    )
    cache: str = option(
        "", "Folder for fetched weights and features of real images; by default $CAWA_CACHE or ~/.cache/cawa."
    )
    offline: bool = option(False, "Never use the network.")
    device: str = option(
        "cpu",
        "Device of the models: cpu, cuda or cuda:N. On Ray, cuda gives each worker one GPU, and cuda:N is refused.",
    )
    batch_size: Annotated[int, Field(ge=0)] = option(
        0, "Images per forward pass; 0 means as many as fit into the cache of a CPU or the memory of a GPU."
    )
    classes_per_shard: Annotated[int, Field(ge=0)] = option(
        0, "Classes per shard, the block of work that is saved at a time; 0 means a number that suits each stage."
    )
    storage_patience: Annotated[float, Field(gt=0)] = option(
        120.0, "Seconds for which failing requests to an object store are repeated."
    )
    report: bool = option(
        True, "Write report.html and its figures at the end; without it, `cawa report` writes them later."
    )
    report_every: Annotated[float, Field(ge=0)] = option(
        10.0, "Minutes between interim reports while an audit runs, if there is anything new; 0 makes none."
    )
    log: str = option("", "File to which events are appended as lines of JSON; - means stderr.")
    start_timeout: Annotated[float, Field(gt=0)] = option(
        300.0, "Seconds that an audit on Ray waits for a worker to start before it ends."
    )

    def weight_store(self, generator: str) -> WeightStore:
        """Return where each model's weights come from; a path without a name belongs to the generator.

        Raises:
            InputError: two paths for one model.
        """
        from cawa_core.weights import WeightStore

        given: dict[str, str] = {}
        for word in self.weights:
            named, path = model_and_path(word)
            name = named or generator
            if name in given:
                raise InputError(f"weights must give one path a model; got {given[name]} and {path} for {name}")
            given[name] = path
        return WeightStore(given, self.cache, self.offline)

    def with_absolute_paths(self) -> RunOptions:
        """The same for workers that run in other folders; only the output stays as it was given."""
        named = [model_and_path(word) for word in self.weights]
        weights = tuple(f"{name}={_absolute(path)}" if name else _absolute(path) for name, path in named)
        folders = _absolute(self.class_folders) if self.class_folders else ""
        return dataclasses.replace(
            self, weights=weights, class_folders=folders, cache=str(self.cache_folder.absolute())
        )

    @property
    def cache_folder(self) -> Path:
        """Folder of the caches."""
        from cawa_core.weights import default_cache

        return user_path(self.cache) if self.cache else default_cache()


def model_and_path(word: str) -> tuple[str, str]:
    """``NAME=PATH`` of a model as both; a path alone with no name, even where it has a ``=`` in it.

    Raises:
        InputError: what stands before ``=`` is no model, and the whole is no path.
    """
    from cawa_core.evaluators import EVALUATORS
    from cawa_core.segmenters import SEGMENTERS

    name, mark, path = word.partition("=")
    if not mark:
        return "", word
    registries = (GENERATORS, EVALUATORS, SEGMENTERS)
    if ":" in name or any(registry.knows(name) for registry in registries):
        return name, path
    if user_path(word).exists():
        return "", word
    known = [known for registry in registries for known in registry.names()]
    raise InputError(
        f"weights must be a path, or NAME=PATH of a model; {name!r} is none{suggestion(name, known)}, and {word} is "
        "not there"
    )


def _absolute(path: str) -> str:
    return str(user_path(path).absolute())


def with_absolute_real_images(spec: AuditSpec) -> AuditSpec:
    """The same with the folder of real images, if it is one, as workers in other folders find it."""
    if spec.real_images and user_path(spec.real_images).is_dir():
        return dataclasses.replace(spec, real_images=_absolute(spec.real_images))
    return spec


def merged_options(file: Path | None, flags: Mapping[str, Any]) -> tuple[AuditSpec, RunOptions]:
    """Spec and run options from a TOML file overridden by flags (None: not given).

    Raises:
        InputError: no such file, not TOML, an unknown key, a wrong type or a value out of range.
    """
    values = read_toml(file) if file else {}
    values |= {name: value for name, value in flags.items() if value is not None}
    run_names = {field.name for field in dataclasses.fields(RunOptions)}
    spec_names = {field.name for field in dataclasses.fields(audit_spec_type())}
    for key in values:
        if key not in run_names | spec_names:
            where = f" in {file}" if file else ""
            raise InputError(
                f"unknown option {bounded(key)}{where}{suggestion(key, spec_names | run_names)}; `cawa audit --help` "
                "lists the options"
            )
    spec = recommended_spec({key: value for key, value in values.items() if key in spec_names})
    options = validated(RunOptions, {key: value for key, value in values.items() if key in run_names})
    return spec, options


def recommended_spec(values: Mapping[str, Any]) -> AuditSpec:
    """A spec from what is given, the rest as suits the generator, else as it is by default.

    Raises:
        InputError: as :func:`cawa_core.options.validated`.
    """
    generator = str(values.get("generator", AuditSpec.generator))
    users = {"evaluator": "", "real_images": ""} if GENERATORS.is_foreign(generator) else {}
    merged = {**users, **GENERATORS.defaults(generator), **values}
    if merged.get("segmenter"):
        merged = {"stages": [*ANALYSES.by_default, *ANALYSES.of_concepts], **merged}
    spec: AuditSpec = validated(audit_spec_type(), merged)
    return spec


def read_toml(file: Path) -> dict[str, Any]:
    """Content of a TOML file.

    Raises:
        InputError: it cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(user_path(file).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"spec file {file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, and arrays in arrays in arrays
        raise InputError(f"spec file {file} is not TOML: {first_line(error)}") from None
