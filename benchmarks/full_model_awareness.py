"""Measure awareness of all 1,000 classes at all 48 sites of a full-size BigGAN-deep-256.

The weights are random, with converged spectral norms. The shards run through the executor of an audit: in this process,
or with ``--workers N`` on Ray. The benchmark prints the time to compute every diagnostic column of 24.2 million rows in
closed form and to write them as shards, and the peak memory of all processes; it then verifies the digest and the rows
of each shard. With ``--monte-carlo N`` it adds 10,000 samples per class on N classes and prints their distance from the
closed form. Run it on an idle machine, in the folder of the project: ``python -m benchmarks.full_model_awareness``.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import multiprocessing
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cawa_core.digests import digest_of_bytes
from cawa_core.tables import Manifest, Receipt
from tests.biggan_deep_models import random_network, save_folder
from workflows.analyses.awareness import AwarenessOptions
from workflows.executors import EXECUTORS
from workflows.options.audit import AuditSpec, audit_spec, options_as
from workflows.options.run import RunOptions
from workflows.planning.plan import plan
from workflows.running.job import Job

LIGHT_TAIL = 2.867e-7
"""P(gain <= 0) if the mean of the gain is five standard deviations."""


class PeakMemory:
    """Largest sum of the proportional set sizes of this process and Ray's workers, sampled every second."""

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            self.bytes = max(self.bytes, sum(map(proportional_size, audit_processes())))


def audit_processes() -> list[int]:
    """List the ids of this process and of Ray's workers."""
    processes = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if b"full_model_awareness" in command or command.startswith(b"ray::ShardWorker"):
            processes.append(int(folder.name))
    return processes


def proportional_size(process: int) -> int:
    """Return the bytes of a process, shared memory divided among its users; 0 if the process has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def verified_rows(folder: Path, receipt: Receipt) -> int:
    """Read a shard back, compare its digests and counts with the receipt, and return the number of rows."""
    count = 0
    for file in receipt.files:
        content = (folder / file.file).read_bytes()
        table = pq.read_table(io.BytesIO(content))
        if digest_of_bytes(content) != file.sha256 or table.num_rows != file.rows:
            raise RuntimeError(f"{file.file} does not match its receipt")
        count += table.num_rows
    return count


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Figures of one run over a whole model.

    Attributes:
        rows: rows that were written and verified.
        seconds: time from the beginning of the first shard to the end of the last.
        start_seconds: time until the first shard began.
        gibibytes: peak memory of all processes.
        manifest: manifest of the audit.
        classes_sampled: classes that Monte Carlo covers.
    """

    rows: int
    seconds: float
    start_seconds: float
    gibibytes: float
    manifest: Manifest
    classes_sampled: int

    def __str__(self) -> str:
        return (
            f"{self.rows:,} rows: computed and written in {self.seconds:.1f} s, then verified\n"
            f"after {self.start_seconds:.1f} s until the first shard began; peak memory {self.gibibytes:.2f} GiB"
        )


def measure(weights: Path, folder: Path, spec: AuditSpec, workers: int, device: str = "cpu") -> Measurement:
    """Compute, write and verify the awareness of a model."""
    options = RunOptions(weights=(str(weights),), workers=workers, offline=True, device=device)
    executor = EXECUTORS.make("ray" if workers else "inline")
    job = Job.open(spec, options)
    manifest = Manifest.read(folder)
    start = time.perf_counter()
    start_seconds = 0.0
    with PeakMemory() as memory:
        for outcome in executor.run(job, options, manifest.storage, plan(job, manifest, None)):
            assert isinstance(outcome, Receipt), outcome
            start_seconds = start_seconds or time.perf_counter() - outcome.seconds - start
            manifest.receipts[outcome.shard] = outcome
        end = time.perf_counter()
    rows = sum(verified_rows(folder, receipt) for receipt in manifest.receipts.values())
    return Measurement(
        rows=rows,
        seconds=end - start - start_seconds,
        start_seconds=start_seconds,
        gibibytes=memory.bytes / 2**30,
        manifest=manifest,
        classes_sampled=options_as(AwarenessOptions, job.spec).monte_carlo_classes,
    )


def compare_estimators(manifest: Manifest, classes: int) -> None:
    """Print the distance of sampled from closed-form category awareness in standard errors, where tails are light."""
    distances = []
    for receipt in manifest.receipts.values():
        rows = pq.read_table(io.BytesIO(manifest.storage.read(receipt.files[0].file)))
        sampled = rows.filter(pc.field("estimator") == "monte_carlo")
        exact = rows.filter((pc.field("estimator") == "closed_form") & pc.field("class_id").isin(sampled["class_id"]))
        light = (
            np.minimum(exact["gain_sign_probability"], pc.subtract(1.0, exact["gain_sign_probability"])) < LIGHT_TAIL
        )
        gap = (
            np.subtract(sampled["category_awareness"], exact["category_awareness"])
            / sampled["category_awareness_stderr"]
        )
        distances.append(np.abs(gap[light]))
    errors = np.concatenate(distances)
    print(
        f"10,000 samples on {classes} classes, {len(errors):,} channels with mean gain above 5 deviations: "
        f"{(errors < 4).mean():.6%} within 4 standard errors, the farthest {errors.max():.2f}"
    )


def save_random_model(weights: Path) -> None:
    """Save a full-size model with random weights."""
    save_folder(random_network(256), weights)


def main() -> None:
    """Measure the closed form and, with ``--monte-carlo``, the closed form together with samples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--monte-carlo", type=int, default=0, metavar="N", help="Sample N classes too; default %(default)s."
    )
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="Run N workers on Ray; default 0, in this process."
    )
    arguments = parser.parse_args()
    spec = audit_spec(generator="biggan-deep-256", stages=("awareness",), awareness_estimators=("closed_form",))
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights"
        with ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn")
        ) as pool:  # keeps its memory out of the measurement
            pool.submit(save_random_model, weights).result()
        print(measure(weights, Path(folder) / "audit", spec, arguments.workers))
        if arguments.monte_carlo:
            sampled = dataclasses.replace(
                spec,
                awareness_estimators=("closed_form", "monte_carlo"),
                monte_carlo_classes=arguments.monte_carlo,
            )
            measurement = measure(weights, Path(folder) / "sampled", sampled, arguments.workers)
            print(measurement)
            compare_estimators(measurement.manifest, measurement.classes_sampled)


if __name__ == "__main__":
    main()
