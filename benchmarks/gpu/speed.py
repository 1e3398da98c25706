"""How fast the device does each kind of work, and what limits it."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import full_model_awareness
from benchmarks.gpu.device import PeakMemory, seconds_on
from benchmarks.gpu.launches import masking_calls
from benchmarks.gpu.profiling import Convolutions, profiled, seconds_alone, waits_of
from benchmarks.gpu.results import Check, Findings
from benchmarks.gpu.session import BUNDLED, CLASS_ID, DEEP_128, DEEP_256, INCEPTION, Session, spread
from benchmarks.masking import Contest
from benchmarks.naive_masking import biggan_deep_loop, fashion_loop
from cawa_core.generators.base import class_ids_of
from cawa_core.masking.engine import MaskingEngine
from cawa_core.masking.screening import screened
from cawa_core.numerics.arithmetic import arithmetic, use_exact_kernels
from cawa_core.numerics.batch_size import BatchSize
from cawa_core.weights import load_tensors
from workflows.interface import Output
from workflows.options.audit import audit_spec
from workflows.options.run import RunOptions
from workflows.planning.shards import Shard
from workflows.running.audit import run_audit
from workflows.running.execution import within_memory
from workflows.running.job import Job

OF_WHAT_OPERATIONS_ALLOW = 0.9
"""Exact masks over the hook loop, as a share of what the saved operations allow."""
CONVOLUTION_RATE = 0.6
"""Rate of the convolutions inside masking over that of the same convolutions alone."""
BUSY = 0.85
WHOLE_MODEL_SECONDS = 5.0
"""Closed form of 1,000 classes and 24,192 channels, tables included."""
BUNDLED_BATCH = {"cpu": 80, "cuda": 2048}


def launches(session: Session) -> Findings:
    """Kernel launches and waits per stacked pass of exact masking, counted on fake tensors: needs no GPU."""
    figures: dict[str, Any] = {}
    for name, batch in ((BUNDLED, 80), (DEEP_128, 64)):
        generator, evaluator = session.models(name, torch.device("cpu"))
        sites = spread(3, len(generator.sites))
        calls = masking_calls(generator, evaluator, latents=batch, masks=batch, batch=batch, sites=sites)
        for site, counted in calls.items():
            passes = counted.by_operator["_log_softmax"]
            figures[f"{name} site {site}: launches per pass"] = round(counted.launches / passes, 1)
            figures[f"{name} site {site}: waits per pass"] = round(counted.waits / passes, 3)
    return Findings((), figures)


def contest(session: Session, name: str, precision: str) -> Contest:
    """The engine and the loop on one generator, at equal arithmetic and batch."""
    generator, evaluator = session.models(name)
    if name == BUNDLED:
        loop = fashion_loop(generator)  # type: ignore[arg-type]
        batch = BUNDLED_BATCH[session.device.type]
        latents = min(batch, 4 * session.sizes.batch)
        masks = 4 * session.sizes.timed_masks
    else:
        weights = load_tensors(Path(session.weights_of(INCEPTION)))
        loop = biggan_deep_loop(session.generator(name), weights)  # type: ignore[arg-type]
        batch = latents = session.sizes.batch
        masks = session.sizes.timed_masks
    z = generator.sample_latents(0, 0, range(latents))
    sites = spread(session.sizes.timed_sites, len(generator.sites))
    engine = MaskingEngine(generator, evaluator, BatchSize(batch))
    return Contest(engine, loop, z, sites, masks, precision, precision)


def masks_against_loop(session: Session, name: str, precisions: tuple[str, ...]) -> Findings:
    """Exact masks against a hook and a whole pass per mask."""
    use_exact_kernels()
    checks: list[Check] = []
    figures: dict[str, float] = {}
    for precision in precisions:
        if precision not in session.precisions:
            continue
        with PeakMemory(session.device) as memory:
            result = contest(session, name, precision).result(name, None, session.sizes.repeats)
        allowed = result.facts["operations of the loop over ours"]
        share = result.ratio / allowed
        # the rehearsal's networks are too small for a bound: their time is not in their operations
        if session.device.type == "cuda":
            checks.append(Check(f"{precision}: share of the allowed ratio", share, OF_WHAT_OPERATIONS_ALLOW, True))
        figures |= {f"{precision}: ratio to the loop": result.ratio, f"{precision}: share of the allowed ratio": share}
        figures |= {f"{precision}: {fact}": value for fact, value in result.facts.items()}
        figures[f"{precision}: peak GB"] = memory.gigabytes
    return Findings(tuple(checks), figures)


def masking_profile(session: Session, name: str, precision: str = "float32") -> Findings:
    """Profile exact masking: busy time, kernels, convolutions, waits."""
    use_exact_kernels()
    masking = contest(session, name, precision)
    site = masking.sites[len(masking.sites) // 2]
    seen = profiled(session.device, lambda: masking.engine_scores(site))
    with arithmetic(precision, session.device):
        alone = seconds_alone(session.device, lambda: masking.engine_scores(site), 3)
    rate = alone / seen.convolution_seconds
    figures: dict[str, Any] = {
        "site": site,
        "seconds": seen.seconds,
        "share of time the device is busy": seen.busy,
        "kernels": seen.kernels,
        "seconds of convolutions": seen.convolution_seconds,
        "seconds of the same convolutions alone": alone,
        "longest kernels (name, seconds, number)": seen.longest,
    }
    if session.device.type != "cuda":
        return Findings((), figures | {"rate of convolutions over alone": rate})
    figures["waits for the device"] = waits_of(lambda: masking.engine_scores(site))
    checks = (
        Check("share of time the device is busy", seen.busy, BUSY, True),
        Check("rate of convolutions over alone", rate, CONVOLUTION_RATE, True),
    )
    return Findings(checks, figures)


def screening(session: Session) -> Findings:
    """Latents per second, forward and back."""
    figures: dict[str, Any] = {}
    for name, batch in ((BUNDLED, BUNDLED_BATCH[session.device.type]), (DEEP_128, session.sizes.batch)):
        generator, evaluator = session.models(name)
        z = generator.sample_latents(0, 0, range(batch))
        work = partial(screened, generator, evaluator, z, 0, batch)
        work()
        with PeakMemory(session.device) as memory:
            seconds = seconds_on(session.device, work)
        figures |= {f"{name}: latents per second": batch / seconds, f"{name}: peak GB": memory.gigabytes}
    return Findings((), figures)


def regression(session: Session) -> Findings:
    """One class of the bundled generator by the default estimator: screening of all latents, exact masks of a few."""
    spec = audit_spec(classes=(1,), stages=("masking",))
    job = Job.open(spec, RunOptions(device=str(session.device), offline=True))
    shard = Shard("masking", (1,), tuple(job.units("masking", 1)), by_site=True)
    seconds = seconds_on(session.device, lambda: shard_output(job, shard))
    channels = sum(site.channels for site in job.lab.generator.sites)
    return Findings((), {"seconds per class": seconds, "channels per second": channels / seconds})


def class_metrics(session: Session, name: str) -> Findings:
    """Generation, features and all metrics of one class."""
    cache = str(session.folder / "cache")
    fakes = session.sizes.fakes[name != BUNDLED]
    if name == BUNDLED:
        spec = audit_spec(classes=(1,), stages=("class_metrics",), metric_samples=fakes)
        options = RunOptions(device=str(session.device), offline=True, cache=cache)
    else:
        weights = (session.weights_of(name), f"{INCEPTION}={session.weights_of(INCEPTION)}")
        spec = audit_spec(
            generator=name,
            evaluator=INCEPTION,
            real_images=str(session.real_images),
            classes=(CLASS_ID,),
            stages=("class_metrics",),
            metric_samples=fakes,
            dtype="bfloat16" if session.device.type == "cuda" else "float32",
        )
        options = RunOptions(weights=weights, device=str(session.device), offline=True, cache=cache)
    job = Job.open(spec, options)
    lab = job.lab
    class_id = lab.class_ids[0]
    z = lab.latents(class_id, min(fakes, lab.batch_size))

    def generate() -> None:
        with torch.inference_mode(), lab.arithmetic():
            lab.evaluator.features(lab.generator(z, class_ids_of(class_id, z)))

    generate()
    batch_seconds = seconds_on(session.device, generate)
    with PeakMemory(session.device) as memory:
        seconds = seconds_on(session.device, lambda: shard_output(job, Shard("class_metrics", (class_id,))))
    return Findings(
        (),
        {
            "fakes": fakes,
            "seconds": seconds,
            "generation and features alone, images per second": len(z) / batch_seconds,
            "all, images per second": fakes / seconds,
            "peak GB": memory.gigabytes,
            "dtype": spec.dtype,
        },
    )


def shard_output(job: Job, shard: Shard) -> Output:
    """Compute a shard as an audit does, with smaller batches if memory runs out."""
    work = job.work(shard.analysis)
    return within_memory(job.lab, lambda: work.run(job.lab, job.spec, shard, None))


def closed_form(session: Session) -> Findings:
    """Closed-form awareness of a whole BigGAN-deep-256, tables included."""
    spec = audit_spec(
        generator=DEEP_256,
        stages=("awareness",),
        awareness_estimators=("closed_form",),
        classes=tuple(range(session.sizes.awareness_classes)),
    )
    weights = Path(session.weights_of(DEEP_256))
    measured = full_model_awareness.measure(weights, session.folder / "awareness", spec, 0, str(session.device))
    figures = {
        "rows": measured.rows,
        "seconds": measured.seconds,
        "seconds until the first shard": measured.start_seconds,
    }
    checks = (Check("seconds of the whole model", measured.seconds, WHOLE_MODEL_SECONDS),)
    return Findings(checks if session.device.type == "cuda" else (), figures)


def ray_against_inline(session: Session) -> Findings:
    """The same audit inline and by one worker on Ray, which has the device to itself."""
    spec = audit_spec(
        classes=(0, 1, 2, 3) if session.device.type == "cuda" else (0,),
        stages=("awareness", "masking", "class_metrics", "gallery"),
        awareness_estimators=("closed_form",),
        metric_samples=1000 if session.device.type == "cuda" else 100,
        permutations=100,
        bootstraps=100,
    )
    seconds = {}
    for executor in ("inline", "ray"):
        options = RunOptions(
            output=str(session.folder / f"audit by {executor}"),
            executor=executor,  # type: ignore[arg-type]
            workers=1,
            device=str(session.device),
            offline=True,
            cache=str(session.folder / "cache"),
        )
        seconds[executor] = run_audit(spec, options).seconds
    return Findings((), {f"seconds {name}": value for name, value in seconds.items()})


def layouts(session: Session) -> Findings:
    """Seconds of the generator's convolutions in both memory formats: channels last is what the generators use."""
    generator = session.generator(DEEP_128)
    z = generator.sample_latents(0, 0, range(session.sizes.batch))
    figures: dict[str, Any] = {}
    for precision in session.precisions:
        with arithmetic(precision, session.device), torch.inference_mode():
            with Convolutions() as seen:
                generator(z, class_ids_of(0, z))
            for channels_last in (True, False):
                each = [
                    count * dataclasses.replace(convolution, channels_last=channels_last).seconds(session.device, 3)
                    for convolution, count in seen.counts.items()
                ]
                layout = "channels last" if channels_last else "channels first"
                figures[f"{precision}: seconds {layout}"] = float(np.sum(each))
    return Findings((), figures)
