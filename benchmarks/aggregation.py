"""Measure aggregation and report of a whole BigGAN-deep-256: time, memory, and the ratio to pandas.

The tables are random, with groups of similar classes, and written as an audit writes them: closed-form awareness of
1,000 classes and 24,192 channels at 48 sites, masks of groups of five channels, controls, and class metrics.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.results import Result
from cawa_core.class_metrics.records import METRICS
from cawa_core.generators.class_tables import imagenet_classes
from cawa_core.storage import open_storage
from cawa_core.tables import Manifest, Receipt, Rows, publish
from cawa_core.tables.schema import TABLES
from tests.reference.pandas_aggregation import pandas_tables
from workflows.analyses import ANALYSES
from workflows.folders.folder import open_folder
from workflows.folders.identity import AuditIdentity
from workflows.options.audit import AuditSpec, audit_spec
from workflows.results import aggregate
from workflows.results.derive import derive
from workflows.results.report import write_report

WIDTHS = tuple(
    width for block in (*(2048,) * 4, *(1024,) * 4, *(512,) * 2, *(256,) * 2) for width in (block, *(block // 4,) * 3)
)
"""Channels at the sites of BigGAN-deep-256."""
CLASSES = 1000
CLASSES_PER_SHARD = 250
GROUP = 5
"""Channels per mask."""
LARGEST_SECONDS = 120
LARGEST_GIGABYTES = 6
SAMPLE_CLASSES = 40
SAMPLE_WIDTHS = (512, 256, 128, 64)
"""Channels at the sites of the sample that pandas aggregates too."""
REPEATS = 3
FEATURES = 2048
CONTROLS = ("no_op", "lowest", "highest", *("random",) * 8)
FLOORS = ("real_real", "fake_real")

Matrix = NDArray[np.float32]


def class_factors(n_classes: int) -> Matrix:
    """Draw the factors that make the classes of a group of ten similar: ``[n_classes, 16]``."""
    random = np.random.default_rng(0)
    groups = random.standard_normal((-(-n_classes // 10), 16), np.float32).repeat(10, axis=0)
    return groups[:n_classes] + 0.3 * random.standard_normal((n_classes, 16), np.float32)


def site_matrices(factors: Matrix, channels: int, random: np.random.Generator) -> dict[str, Matrix]:
    """Draw columns of ``awareness`` at one site, each ``[classes, channels]``."""
    shared = random.standard_normal((16, channels), np.float32)
    category = (factors @ shared) / 4 + 0.5 * random.standard_normal((len(factors), channels), np.float32)
    expected = np.maximum(category, 0) + 0.2 * random.random((len(factors), channels), np.float32)
    return {
        "category_awareness": category,
        "latent_awareness_robust": random.random((len(factors), channels), np.float32),
        "gain_sign_probability": random.random((len(factors), channels), np.float32) ** 8,
        "activation_probability": 1 / (1 + np.exp(-category)),
        "expected_activation": expected,
    }


def awareness_rows(site: int, class_ids: range, columns: dict[str, Matrix]) -> Rows:
    """Build the rows of ``awareness`` in one shard."""
    n_classes, channels = columns["category_awareness"].shape
    n = n_classes * channels
    constants = {"site": site, "inert": False, "estimator": "closed_form", "n_samples": 0}
    unknown = ("category_awareness_stderr", "latent_awareness")
    schema = TABLES["awareness"].schema
    return {
        "class_id": np.repeat(np.array(class_ids, np.int32), channels),
        "channel": np.tile(np.arange(channels, dtype=np.int32), n_classes),
        **{name: values.reshape(-1) for name, values in columns.items()},
        **{name: pa.repeat(pa.scalar(value, schema.field(name).type), n) for name, value in constants.items()},
        **{name: pa.nulls(n, pa.float32()) for name in unknown},
    }


def masking_rows(site: int, class_ids: range, columns: dict[str, Matrix], random: np.random.Generator) -> Rows:
    """Build the rows of ``masking`` in one shard.

    Groups are neighbours in awareness order; the effect grows with their expected activation.
    """
    n_classes, channels = columns["category_awareness"].shape
    order = np.argsort(columns["category_awareness"], axis=1).astype(np.int32)
    starts = np.arange(0, channels, GROUP)
    n_groups = len(starts)
    n = n_classes * n_groups
    offsets = np.append((np.arange(n_classes)[:, None] * channels + starts).reshape(-1), n_classes * channels)
    expected = np.add.reduceat(np.take_along_axis(columns["expected_activation"], order, 1), starts, axis=1)
    size = (0.01 * expected * random.random((n_classes, n_groups), np.float32)).reshape(-1)
    signed = size * random.choice(np.array([-1, 1], np.float32), n)
    effects = {"score_change": signed, "score_change_abs": size, "log_score_change": 3 * signed}
    effects |= {"log_score_change_abs": 3 * size}
    constants = {"site": site, "method": "regression", "n_samples": 32, "n_screened": 1000, "protocol": "random"}
    schema = TABLES["masking"].schema
    return {
        "class_id": np.repeat(np.array(class_ids, np.int32), n_groups),
        "group": np.tile(np.arange(n_groups, dtype=np.int32), n_classes),
        "channels": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), order.reshape(-1)),
        **effects,
        **{f"{name}_stderr": 0.1 * size for name in effects},
        "screened_score_change": signed * random.random(n, np.float32),
        "screened_score_change_abs": size * random.random(n, np.float32),
        **{name: pa.repeat(pa.scalar(value, schema.field(name).type), n) for name, value in constants.items()},
    }


def control_rows(site: int, class_ids: range, random: np.random.Generator) -> Rows:
    """Build the rows of ``masking_controls`` in one shard."""
    n = len(class_ids) * len(CONTROLS)
    effects = [name for name in TABLES["masking_controls"].columns if "score_change" in name]
    moved = np.tile(np.array(CONTROLS) != "no_op", len(class_ids))
    return {
        "class_id": np.repeat(class_ids, len(CONTROLS)),
        "site": np.full(n, site),
        "control": np.tile(CONTROLS, len(class_ids)),
        "repeat": np.tile(np.maximum(np.arange(len(CONTROLS)) - 3, 0), len(class_ids)),
        "n_channels": np.full(n, 20),
        **{name: moved * random.random(n, np.float32) for name in effects},
        "n_samples": np.full(n, 64),
        "protocol": ["random"] * n,
    }


def class_tables(factors: Matrix, random: np.random.Generator) -> dict[str, Rows]:
    """Build the rows of the tables that have no sites."""
    n = len(factors)
    counts = {"n_real": [1300] * n, "n_fake": [1000] * n, "ms_ssim_clamped": [0] * n, "protocol": ["random"] * n}
    names = imagenet_classes().names
    rows: dict[str, Rows] = {
        "class_metrics": {
            "class_id": range(n),
            "class_name": names[:n],
            "total_awareness": random.random(n),
            **{metric.name: random.random(n) for metric in METRICS},
            **counts,
            "unreadable": [[]] * n,
        }
    }
    floors = [{"comparison": [kind] * n} | {metric.name: random.random(n) for metric in METRICS} for kind in FLOORS]
    joined = {name: np.concatenate([floor[name] for floor in floors]) for name in floors[0]}
    repeated = {name: [*values, *values] for name, values in counts.items()}
    rows["class_metric_floor"] = {"class_id": [*range(n), *range(n)], **joined, **repeated}
    centres = factors @ random.standard_normal((16, FEATURES), np.float32)
    rows["class_centroids"] = {"class_id": range(n), "real_centroid": list(centres), "fake_centroid": list(centres)}
    return rows


def write_audit(folder: Path, n_classes: int, widths: Sequence[int], spec: AuditSpec) -> int:
    """Write a complete audit folder as the analyses would, and return the number of awareness rows."""
    names = imagenet_classes().names
    spec = dataclasses.replace(spec, generator="random", classes=tuple(range(n_classes)))
    identity = AuditIdentity(spec, {"generator": ""}, {}, {}, 1)

    def count_units(analysis: str, class_ids: Collection[int]) -> int:
        return len(class_ids) * (len(widths) if ANALYSES[analysis].by_site else 1)

    open_folder(open_storage(folder), identity, "cpu", dict(enumerate(names)), count_units)
    manifest = Manifest.read(folder)
    factors = class_factors(n_classes)
    random = np.random.default_rng(1)

    def add(shard: str, stage: str, class_ids: Sequence[int], sites: tuple[int, ...], tables: dict[str, Rows]) -> None:
        files = publish(folder, shard, tables, identity.hash)
        units = tuple((site,) for site in sites) or ((),)
        manifest.add(Receipt(shard, stage, tuple(class_ids), sites, files, 0.0, "cpu", units=units))

    for site, channels in enumerate(widths):
        for start in range(0, n_classes, CLASSES_PER_SHARD):
            class_ids = range(start, min(start + CLASSES_PER_SHARD, n_classes))
            columns = site_matrices(factors[class_ids.start : class_ids.stop], channels, random)
            name = f"c{start:04d}-s{site:02d}"
            awareness = {"awareness": awareness_rows(site, class_ids, columns)}
            add(f"awareness-{name}", "awareness", class_ids, (site,), awareness)
            masks = {
                "masking": masking_rows(site, class_ids, columns, random),
                "masking_controls": control_rows(site, class_ids, random),
            }
            add(f"masking-{name}", "masking", class_ids, (site,), masks)
    controls = {"masking_controls": control_rows(-1, range(n_classes), random)}
    add("everywhere", "controls", range(n_classes), (), controls)
    add("metrics", "class_metrics", range(n_classes), (), class_tables(factors, random))
    sites = {"site": range(len(widths)), "name": [f"site {site}" for site in range(len(widths))], "channels": widths}
    sites |= {"resolution": [8] * len(widths), "inert_channels": [[]] * len(widths)}
    add("sites", "sites", (), (), {"sites": sites})
    manifest.settle()
    return n_classes * sum(widths)


def seconds_and_bytes(folder: Path) -> tuple[float, int]:
    """Aggregate and render a folder in a new process; return its wall time, imports included, and its peak memory."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.aggregation", str(folder)]
    with subprocess.Popen(command, env=os.environ | {"MPLBACKEND": "agg"}) as child:
        _, code, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(code)
    if child.returncode:
        raise RuntimeError(f"aggregation of {folder} failed")
    return time.perf_counter() - start, usage.ru_maxrss * 1024


def by_pandas(folder: Path, spec: AuditSpec) -> None:
    """Compute the derived tables with pandas, and write them."""
    manifest = Manifest.read(folder)
    tables = pandas_tables(manifest.table("awareness"), manifest.table("masking"), spec)
    rows: dict[str, Rows] = {name: {column: frame[column] for column in frame} for name, frame in tables.items()}
    publish(folder, "pandas", rows, "benchmark")


def against_pandas(folder: Path, spec: AuditSpec) -> tuple[list[float], list[float]]:
    """Derive the tables of a folder alternately with our code and pandas; return the seconds of both."""
    our_seconds: list[float] = []
    pandas_seconds: list[float] = []
    for repeat in range(REPEATS + 1):
        start = time.perf_counter()
        derive(Manifest.read(folder), spec, "benchmark")
        middle = time.perf_counter()
        by_pandas(folder, spec)
        if repeat:  # the first repeat is the warm-up
            our_seconds.append(middle - start)
            pandas_seconds.append(time.perf_counter() - middle)
    return our_seconds, pandas_seconds


def run() -> Iterator[Result]:
    """Compare with pandas on a sample that pandas can hold, then aggregate the whole model."""
    spec = audit_spec()
    with tempfile.TemporaryDirectory() as name:
        sample = Path(name) / "sample"
        whole = Path(name) / "whole"
        sample_rows = write_audit(sample, SAMPLE_CLASSES, SAMPLE_WIDTHS, spec)
        our_seconds, pandas_seconds = against_pandas(sample, spec)
        yield Result(
            f"derived tables of {SAMPLE_CLASSES} classes, {sample_rows:,} awareness rows",
            "joins, group-bys and pivots of pandas",
            tuple(naive / fast for naive, fast in zip(pandas_seconds, our_seconds, strict=True)),
            at_least=5,
            seconds=statistics.median(our_seconds),
            counterpart_seconds=statistics.median(pandas_seconds),
        )
        rows = write_audit(whole, CLASSES, WIDTHS, spec)
        os.sync()  # the files just written must not be flushed during the measurement
        seconds, memory = seconds_and_bytes(whole)
        extrapolated_seconds = statistics.median(pandas_seconds) * rows / sample_rows
        page = (whole / "report.html").stat().st_size
        yield Result(
            f"derived tables, summary and report of {CLASSES} classes, {rows:,} awareness rows",
            f"derived tables alone by pandas, from {sample_rows:,} rows in proportion: less than it would take, as "
            "pairs of classes grow faster",
            (extrapolated_seconds / seconds,),
            seconds=seconds,
            counterpart_seconds=extrapolated_seconds,
            facts={"MB of report.html": page / 1e6, "MB of class_overlap": overlap_bytes(whole) / 1e6},
            bounds={"s": (seconds, LARGEST_SECONDS), "GB at most": (memory / 1e9, LARGEST_GIGABYTES)},
        )


def overlap_bytes(folder: Path) -> int:
    """Return the size of ``class_overlap``, the largest derived table."""
    return sum(path.stat().st_size for path in (folder / "tables/class_overlap").iterdir())


def main() -> None:
    """Aggregate and render a folder, as the measured process, and print the seconds of its steps on stderr."""
    folder = Path(sys.argv[1])
    start = time.perf_counter()
    manifest = Manifest.read(folder)
    aggregate(manifest)
    middle = time.perf_counter()
    write_report(manifest)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    steps = {"aggregate": middle - start, "report": time.perf_counter() - middle, "peak GiB": peak}
    print(json.dumps({name: round(value, 2) for name, value in steps.items()}), file=sys.stderr)


if __name__ == "__main__":
    main()
