"""Closed-form awareness: against the paper's sampling, and for all of a model as large as BigGAN-deep-256.

Prints the time of one class at one site of 2,048 channels against Appendix A's 10,000 samples; then, for
1,000 classes and 24,192 channels with random spectral-normalised weights, the time to compute all columns,
to write them as shards of 250 classes a site, and to read them back by their digests; and the peak memory.
Run it on an idle machine: ``python -m benchmarks.closed_form_awareness`` in the project's folder.
"""

from __future__ import annotations

import argparse
import io
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from cawa_core.awareness import Awareness, closed_form_awareness
from cawa_core.digests import digest_of_bytes
from cawa_core.generators.base import AffineMap, Modulation
from cawa_core.schemas import TABLES
from cawa_core.tables import Rows, publish

BLOCK_CHANNELS = (2048,) * 4 + (1024,) * 4 + (512,) * 2 + (256,) * 2
"""Channels into each residual block; its four sites have these and three times a quarter of them."""
SITES = tuple(width for channels in BLOCK_CHANNELS for width in (channels, *(channels // 4,) * 3))
CLASSES, PER_SHARD, WIDTH, SAMPLES = 1000, 250, 128, 10_000


def random_modulation(channels: int, seed: int) -> Modulation:
    """Gain and offset by random linear layers ``[C, 256]`` of spectral norm 1 from (e, z)."""
    random = torch.Generator().manual_seed(seed)

    def layer(constant: float) -> AffineMap:
        weight = torch.randn(channels, 2 * WIDTH, generator=random)
        weight /= torch.linalg.matrix_norm(weight, 2)
        return AffineMap(torch.full((channels,), constant), weight[:, :WIDTH], weight[:, WIDTH:])

    return Modulation(layer(1.0), layer(0.0))


def sampled_awareness(modulation: Modulation, embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Appendix A for one class: a loop over latents, then mean and variance of the probe; ``[C]`` each."""
    gain, offset = modulation.gain.double(), modulation.offset.double()
    embedding = embedding.double()
    probes = []
    for _ in range(SAMPLES):
        z = torch.randn(WIDTH, dtype=torch.float64)
        scale = gain.constant + gain.from_class @ embedding + gain.from_latent @ z
        probes.append(-(offset.constant + offset.from_class @ embedding + offset.from_latent @ z) / scale)
    variance, mean = torch.var_mean(torch.stack(probes), dim=0)
    return -mean, variance


def seconds(work: Callable[[], object], repeats: int = 1) -> float:
    """Wall time of the fastest call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def shards(modulations: Sequence[Modulation], classes: int) -> Iterator[tuple[int, range, Awareness]]:
    """Site, classes and awareness of every shard."""
    embeddings = torch.randn(classes, WIDTH, generator=torch.Generator().manual_seed(0))
    for site, modulation in enumerate(modulations):
        for start in range(0, classes, PER_SHARD):
            some = range(start, min(start + PER_SHARD, classes))
            yield site, some, closed_form_awareness(modulation, embeddings[some.start : some.stop])


def rows(site: int, classes: range, awareness: Awareness) -> Rows:
    """Rows of the ``awareness`` table, as the stage makes them."""
    n_classes, channels = awareness.category_awareness.shape
    n = n_classes * channels
    names = [name for name in TABLES["awareness"].schema.names if hasattr(awareness, name)]
    return {
        "class_id": np.repeat(classes, channels),
        "site": np.full(n, site),
        "channel": np.tile(np.arange(channels), n_classes),
        **{name: getattr(awareness, name).ravel() for name in names},
        "inert": np.zeros(n, dtype=bool),
        "estimator": pa.chunked_array([pa.repeat("closed_form", n)]),
        "n_samples": np.zeros(n, dtype=np.int32),
    }


def write_and_read_back(modulations: Sequence[Modulation], classes: int) -> tuple[int, int]:
    """Publish every shard, verify and read every file again: rows and bytes."""
    count = size = 0
    with tempfile.TemporaryDirectory() as folder:
        for site, some, awareness in shards(modulations, classes):
            shard = f"{site}-{some.start}"
            (file,) = publish(Path(folder), shard, {"awareness": rows(site, some, awareness)}, "benchmark")
            content = (Path(folder) / file.file).read_bytes()
            if digest_of_bytes(content) != file.sha256:
                raise RuntimeError(f"{file.file} was read back with another digest")
            count, size = count + pq.read_table(io.BytesIO(content)).num_rows, size + len(content)
            (Path(folder) / file.file).unlink()
    return count, size


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=CLASSES)
    classes = parser.parse_args().classes
    modulation, embedding = random_modulation(2048, seed=0), torch.randn(1, WIDTH)
    sampled = seconds(lambda: sampled_awareness(modulation, embedding[0]))
    exact = seconds(lambda: closed_form_awareness(modulation, embedding), repeats=5)
    print(f"{torch.get_num_threads()} threads; {classes:,} classes x {sum(SITES):,} channels at {len(SITES)} sites")
    print(f"one class, 2,048 channels: {SAMPLES:,} samples {sampled:.2f} s, closed form {exact * 1e3:.1f} ms", end=", ")
    print(f"{sampled / exact:,.0f} times as fast")
    modulations = [random_modulation(channels, seed=site) for site, channels in enumerate(SITES)]
    print(f"computed                         {seconds(lambda: [None for _ in shards(modulations, classes)]):6.1f} s")
    start = time.perf_counter()
    count, size = write_and_read_back(modulations, classes)
    print(
        f"computed, written and read back  {time.perf_counter() - start:6.1f} s, {count:,} rows, {size / 1e6:,.0f} MB"
    )
    print(f"peak memory                      {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:6.2f} GiB")


if __name__ == "__main__":
    main()
