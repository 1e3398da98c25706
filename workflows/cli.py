"""The command line: ``cawa``.

Exit codes: 0 done, 2 bad input (one line), 3 finished with quarantined shards, 4 `compare` found a regression,
1 anything else.
"""

from __future__ import annotations

import errno
import gc
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cawa_core.errors import InputError, bounded, counted, listed, shortened
from cawa_core.options import validated
from cawa_core.paths import user_path
from cawa_core.storage import FolderInUseError, StorageError, StorageRefusedError
from workflows.analyses import ANALYSES
from workflows.commands.flags import with_options_of
from workflows.commands.options import UNSCORED_OPTIONS, SpecFile, merged_command
from workflows.commands.quick_imports import quick_imports
from workflows.commands.terminal import (
    EXIT_FAILED,
    escape_unencodable,
    one_line_for_faults_of_the_machine,
    require_text,
)
from workflows.commands.words import OnceCommand
from workflows.compare.options import comparison_spec_type, merged_comparison
from workflows.interface import imported
from workflows.options.annotate import AnnotateOptions
from workflows.options.audit import AuditSpec
from workflows.options.convert import ConvertOptions
from workflows.options.run import RunOptions, merged_options

if TYPE_CHECKING:
    from cawa_core.generators.base import Generator

EXIT_BAD_INPUT, EXIT_QUARANTINED, EXIT_REGRESSION = 2, 3, 4
TYPER_INTERRUPTED = 130
"""Exit code that typer returns after Ctrl-C."""
UNUSABLE_PATHS = (errno.ENAMETOOLONG, errno.ELOOP)
"""Errors of a path that no file can have."""
FIX = "finished shards are kept; fix this, then run the same command again"
RESUME = "finished shards are kept; run the same command to resume"

app = typer.Typer(
    name="cawa",
    help="Audit class-conditional GANs channel by channel.",
    epilog="A LIST is separated by commas, or the option is repeated; put a word with a comma in double quotes. "
    "Any other option is given once. ~ is the home folder in every path. "
    "Exit codes: 0 done; 1 failed, interrupted, or verify found faults; 2 bad input; 3 shards quarantined; "
    "4 compare found something worse.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

command = partial(app.command, cls=OnceCommand)

AuditFolder = Annotated[
    str, typer.Argument(help="Audit folder, as a path or an s3://, gs:// or az:// URL.", show_default=False)
]
BaseFolder = Annotated[
    str, typer.Argument(help="Audit folder, or its URL, of the checkpoint to compare with.", show_default=False)
]
NewFolder = Annotated[str, typer.Argument(help="Audit folder, or its URL, of the new checkpoint.", show_default=False)]


def main() -> None:
    """Run the command line; bad input becomes one line and exit code 2."""
    escape_unencodable()
    try:
        require_text(sys.argv[1:])
        with one_line_for_faults_of_the_machine():
            code = app(standalone_mode=False)
    except InputError as error:
        _refuse(str(error))
    except StorageError as error:
        remedy = FIX if isinstance(error, StorageRefusedError) else RESUME
        print(f"cawa: {shortened(str(error))}; {remedy}", file=sys.stderr)
        sys.exit(EXIT_FAILED)
    except OSError as error:
        if error.errno not in UNUSABLE_PATHS:
            raise
        _refuse(f"{bounded(error.filename)} cannot be used as a path: {error.strerror}; give another")
    except Exception as error:
        if not hasattr(error, "format_message"):  # an error of the option parser, whichever module defines it
            raise
        _refuse(error.format_message())
    finally:
        gc.freeze()  # skip the final collection of imported objects: the process ends in a fifth of the time
    if code == TYPER_INTERRUPTED:
        print(f"cawa: interrupted; {RESUME}", file=sys.stderr)
        code = EXIT_FAILED
    sys.exit(code or 0)


def _refuse(message: str) -> NoReturn:
    print(f"cawa: {shortened(message)}", file=sys.stderr)
    sys.exit(EXIT_BAD_INPUT)


@command()
@with_options_of(AuditSpec, RunOptions)
def audit(
    flags: dict[str, Any],
    spec: Annotated[Path | None, typer.Option(help="TOML file with any of the options below.")] = None,
) -> None:
    """Audit a generator, or resume an audit: compute, aggregate, report. Without options: the bundled generator."""
    audit_spec, options = merged_options(spec, flags)
    if options.executor == "ray" and not user_path(options.output or f"results/{audit_spec.generator}").exists():
        from workflows.executors.ray.head import start_ahead

        start_ahead(options.workers)  # Ray starts during the imports below
    with quick_imports():
        from cawa_core.tables.receipts import REPORT, SUMMARY
        from workflows.results.report import warnings_of
        from workflows.running.audit import run_audit

    result = run_audit(audit_spec, options)
    computed = f"{counted(result.computed, 'shard')} computed" if result.computed else "nothing to compute"
    print(
        f"{computed}, {result.reused} reused, {result.retried} retried, {len(result.quarantined)} quarantined, "
        f"{result.seconds:.0f} s"
    )
    if options.report:
        print(f"report: {result.storage.path(REPORT)}")
    else:
        print(f"summary: {result.storage.path(SUMMARY)}")
    for warning in warnings_of(result.storage):
        print(f"warning: {warning}", file=sys.stderr)
    if result.quarantined:
        print(
            f"quarantined: {listed(result.quarantined)}; see manifest.json, and run the same command to retry",
            file=sys.stderr,
        )
        raise typer.Exit(EXIT_QUARANTINED)


@command()
@with_options_of(AuditSpec, RunOptions)
def plan(
    flags: dict[str, Any],
    spec: Annotated[Path | None, typer.Option(help="TOML file with any of the options below.")] = None,
    price: Annotated[float | None, typer.Option(help="Price per hour of the device; adds a cost column.")] = None,
    calibrate: Annotated[
        bool, typer.Option(help="Time a few passes on the device, to estimate hours and cost.")
    ] = True,
) -> None:
    """Estimate shards, passes, bytes, hours and cost of an audit, running only a few timed passes."""
    with quick_imports():
        from workflows.planning.estimate import plan_lines

    audit_spec, options = merged_options(spec, flags)
    print("\n".join(plan_lines(audit_spec, options, price, calibrate)))


@command()
def status(folder: AuditFolder) -> None:
    """Show finished, quarantined and remaining shards (reads only the manifest)."""
    with quick_imports():
        from workflows.folders.damage import damage_named
        from workflows.folders.status import status_lines

    with damage_named(folder):
        print("\n".join(status_lines(folder)))


@command()
def verify(
    folder: AuditFolder,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="First make a lost or damaged manifest.json again from the tables' own metadata, and rewrite derived "
            "tables, summary and report.",
        ),
    ] = False,
) -> None:
    """Read every file of an audit and list damaged, foreign, duplicate, left-over and missing ones."""
    with quick_imports():
        from workflows.folders.verify import verify as verify_audit

    if rebuild:
        from workflows.folders.rebuild import rebuild as rebuild_manifest

        print("\n".join(rebuild_manifest(folder)))
    result = verify_audit(folder)
    for fault in result.faults:
        print(fault)
    files, rows, faults = (
        counted(result.files, "file"),
        counted(result.rows, "row"),
        counted(len(result.faults), "fault"),
    )
    print(f"{files} and {rows} read, {faults}")
    if result.faults:
        raise typer.Exit(EXIT_FAILED)


@command()
@with_options_of(comparison_spec_type())
def compare(
    base: BaseFolder,
    new: NewFolder,
    flags: dict[str, Any],
    spec: Annotated[Path | None, typer.Option(help="TOML file with any of the thresholds below.")] = None,
    output: Annotated[
        str, typer.Option(help="Folder or URL for the result; by default NEW/comparisons/BASE-HASH.")
    ] = "",
) -> None:
    """Show what changed between the audits of two checkpoints; exit code 4 if NEW is worse than BASE."""
    with quick_imports():
        from workflows.compare.comparison import compare as compare_audits
        from workflows.folders.damage import damage_named

    thresholds = merged_comparison(spec, flags)
    with damage_named(base, new):
        result = compare_audits(base, new, thresholds, output)
    print(result.sentence)
    print(f"comparison: {result.storage.path('compare.html')}", file=sys.stderr)
    if result.is_worse:
        raise typer.Exit(EXIT_REGRESSION)


for analysis in ANALYSES.values():
    if analysis.command:
        command()(imported(analysis.command))


@command()
@with_options_of(AnnotateOptions, AuditSpec, RunOptions, only=UNSCORED_OPTIONS)
def annotate(
    flags: dict[str, Any],
    spec: SpecFile = None,
) -> None:
    """Write a folder of generated images to paint label maps for, or check a painted one (--check)."""
    with quick_imports():
        from workflows.commands.annotate import annotate as write_or_check

    print("\n".join(write_or_check(*merged_command(AnnotateOptions, spec, flags))))


@command()
def aggregate(folder: AuditFolder) -> None:
    """Rewrite the derived tables and the summary of an audit; while it runs, write an interim summary."""
    with quick_imports():
        from cawa_core.tables import Manifest
        from cawa_core.tables.receipts import SUMMARY
        from workflows.folders.damage import damage_named
        from workflows.folders.folder import opened_audit
        from workflows.results import aggregate as write_aggregates
        from workflows.results.interim import write_interim

    storage = opened_audit(folder)
    try:
        with damage_named(storage), storage.locked():
            write_aggregates(Manifest.read(storage))
    except FolderInUseError:
        print(write_interim(storage, page=False))
    print(f"summary: {storage.path(SUMMARY)}")


@command()
def report(folder: AuditFolder) -> None:
    """Rewrite the report of an audit from its tables and summary; while it runs, write an interim report."""
    with quick_imports():
        from cawa_core.tables import Manifest
        from cawa_core.tables.receipts import REPORT
        from workflows.folders.damage import damage_named
        from workflows.folders.folder import opened_audit
        from workflows.results.interim import write_interim
        from workflows.results.report import write_report

    storage = opened_audit(folder)
    try:
        with damage_named(storage), storage.locked():
            write_report(Manifest.read(storage))
    except FolderInUseError:
        print(write_interim(storage))
    print(f"report: {storage.path(REPORT)}")


@command()
def models() -> None:
    """List generators, evaluators, segmenters and sets of real images; package.module:factory names your own."""
    from cawa_core.evaluators import EVALUATORS
    from cawa_core.generators import GENERATORS
    from cawa_core.real_images import REAL_IMAGES
    from cawa_core.segmenters import SEGMENTERS

    for registry in (GENERATORS, EVALUATORS, SEGMENTERS, REAL_IMAGES):
        print(f"{registry.kind}: {', '.join(registry.names())}")


GeneratorName = Annotated[str, typer.Argument(help="Name from `cawa models`, or package.module:factory.")]
Weights = Annotated[str, typer.Option(help="Path of the weights; by default they come from the cache or are fetched.")]
Cache = Annotated[str, typer.Option(help="Folder for fetched weights; by default $CAWA_CACHE or ~/.cache/cawa.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never access the network.")]


@command()
def sites(
    generator: GeneratorName = AuditSpec.generator, weights: Weights = "", cache: Cache = "", offline: Offline = False
) -> None:
    """List the sites of a generator."""
    model = _generator(generator, weights, cache, offline)
    size = f"{model.image_size} x {model.image_size} pixels"
    print(f"{model.name}: {size}, {counted(model.n_classes, 'class')}, {model.z_dim} latent dimensions")
    if model.description:
        print(model.description)
    print("site  channels  resolution  inert  name")
    for site in model.sites:
        row = f"{site.index:4}  {site.channels:8}  {site.resolution:10}  {len(site.inert_channels):5}  {site.name}"
        print(row)
    channels = sum(site.channels for site in model.sites)
    inert = sum(len(site.inert_channels) for site in model.sites)
    print(f"{counted(len(model.sites), 'site')}, {counted(channels, 'channel')}, {inert} inert")


@command()
def classes(
    generator: GeneratorName = AuditSpec.generator, weights: Weights = "", cache: Cache = "", offline: Offline = False
) -> None:
    """List the classes of a generator: index, WordNet id if there is one, name, synonyms."""
    from cawa_core.generators import GENERATORS
    from cawa_core.generators.class_tables import imagenet_classes

    is_imagenet = generator.startswith("biggan-deep-") and generator in GENERATORS.names() and not weights
    table = imagenet_classes() if is_imagenet else _generator(generator, weights, cache, offline).classes
    print("\n".join(table.lines()))


def _generator(name: str, weights: str, cache: str, offline: bool) -> Generator:
    from cawa_core.generators import GENERATORS
    from cawa_core.generators.request import GeneratorRequest

    options = RunOptions(weights=(weights,) if weights else (), cache=cache, offline=offline)
    return GENERATORS.make(name, GeneratorRequest(name, options.weight_store(name)))


@command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="Names of the models whose weights are fetched.")],
    cache: Cache = "",
) -> None:
    """Fetch weights into the cache ahead of an audit and verify them; cached weights are only verified."""
    from cawa_core.weights import WeightStore
    from cawa_core.weights.known import known_files

    filenames_by_model = {name: [file.filename for file in known_files(name)] for name in names}
    for name, filenames in filenames_by_model.items():
        for path in WeightStore(cache=cache).files(name, filenames).values():
            print(f"{name}: {path}")


@app.command()
@with_options_of(ConvertOptions)
def convert(
    weights: Annotated[Path, typer.Argument(help="Checkpoint to read.")],
    new: Annotated[Path, typer.Argument(help="File to write; it ends in .safetensors, and must not exist.")],
    flags: dict[str, Any],
) -> None:
    """Write the weights of a checkpoint to a .safetensors file, with settings that the checkpoint does not hold."""
    from workflows.commands.convert import convert as convert_weights

    given = {name: value for name, value in flags.items() if value is not None}
    print(convert_weights(weights, new, validated(ConvertOptions, given)))


if __name__ == "__main__":
    main()
