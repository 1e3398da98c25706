"""What only a GPU can show, on small models; ``python -m benchmarks gpu`` shows it on full-size ones, too."""

import numpy as np
import pytest
import torch

from cawa_core.evaluators.base import EvaluatorRequest
from cawa_core.evaluators.small_cnn import FashionCNN
from cawa_core.generators.base import class_ids_of
from cawa_core.generators.request import GeneratorRequest
from cawa_core.generators.small_biggan.generator import FashionBigGAN
from cawa_core.masking.engine import MaskingEngine
from cawa_core.masking.screening import screened
from cawa_core.numerics.arithmetic import arithmetic, use_exact_kernels
from cawa_core.numerics.batch_size import BatchSize
from cawa_core.numerics.transfers import Download, in_order, to_device
from cawa_core.tables import Manifest
from workflows.options.audit import audit_spec
from workflows.options.run import RunOptions
from workflows.running.audit import run_audit

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine, or PyTorch finds none"),
]

CLASS_ID, N = 4, 6
MASKS = [(), (0,), (3, 5), (1,)]


@pytest.fixture(autouse=True)
def exact_kernels():
    use_exact_kernels()


def models(device):
    generator = FashionBigGAN.bundled(GeneratorRequest("fashion-biggan")).to(device)
    evaluator = FashionCNN.bundled(EvaluatorRequest("fashion-cnn")).to(device)
    return generator, evaluator


def scores(device, site, batch=64, precision="float32"):
    generator, evaluator = models(device)
    z = generator.sample_latents(0, CLASS_ID, range(N))
    with arithmetic(precision, torch.device(device)):
        return MaskingEngine(generator, evaluator, BatchSize(batch)).site_log_scores(z, CLASS_ID, site, MASKS)


def test_latents_and_images_are_the_cpu_s():
    images = {}
    for device in ("cpu", "cuda"):
        generator, _ = models(device)
        z = generator.sample_latents(0, CLASS_ID, range(N))
        with torch.inference_mode():
            images[device] = generator(z, class_ids_of(CLASS_ID, z)).cpu()
    torch.testing.assert_close(images["cuda"], images["cpu"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("site", [0, 3, 5])
def test_masked_scores_are_the_cpu_s(site):
    for found, expected in zip(scores("cuda", site), scores("cpu", site), strict=True):
        np.testing.assert_allclose(np.exp(found), np.exp(expected), atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16", "float16"])
def test_an_empty_mask_is_bit_identical(precision):
    unmasked, masked = scores("cuda", 2, precision=precision)
    assert np.array_equal(masked[0], unmasked)


def test_the_batch_changes_rounding_only():
    for found, expected in zip(scores("cuda", 1, batch=1), scores("cuda", 1, batch=64), strict=True):
        np.testing.assert_allclose(np.exp(found), np.exp(expected), atol=1e-5)


def test_running_out_of_memory_halves_the_batch():
    generator, evaluator = models("cuda")
    z, masks = generator.sample_latents(0, CLASS_ID, range(N)), [(channel,) for channel in range(90)]
    expected = MaskingEngine(generator, evaluator, BatchSize(N)).site_log_scores(z, CLASS_ID, 0, masks)[1]
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    engine = MaskingEngine(generator, evaluator, BatchSize(4096))
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**27) / total)
    try:
        many = generator.sample_latents(0, CLASS_ID, range(512))
        masked = engine.site_log_scores(many, CLASS_ID, 0, masks)[1]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert engine.batch.images < 4096
    np.testing.assert_allclose(np.exp(masked[:, :N]), np.exp(expected), atol=1e-5)


def test_screening_is_the_cpu_s():
    rates = {}
    for device in ("cpu", "cuda"):
        generator, evaluator = models(device)
        z = generator.sample_latents(0, CLASS_ID, range(N))
        rates[device] = [one.cpu() for one in screened(generator, evaluator, z, CLASS_ID, N).rates]
    largest = max(float(one.abs().max()) for one in rates["cpu"])
    for found, expected in zip(rates["cuda"], rates["cpu"], strict=True):
        torch.testing.assert_close(found, expected, atol=2e-3 * largest, rtol=0)


def test_downloads_are_whole_when_they_are_handed_out():
    source = to_device(torch.arange(2**20), torch.device("cuda"))
    downloads = (Download.begin({"values": source + number}) for number in range(5))
    for number, arrived in enumerate(in_order(downloads)):
        assert torch.equal(arrived["values"], torch.arange(2**20) + number)


@pytest.mark.parametrize("executor", ["inline", pytest.param("ray", marks=pytest.mark.slow)])
def test_an_audit_on_the_gpu_is_that_of_the_cpu(tmp_path, executor):
    spec = audit_spec(
        classes=(1, 8),
        stages=("awareness", "masking", "class_metrics", "gallery"),
        masking_latents=16,
        exact_latents=8,
        awareness_samples=200,
        metric_samples=60,
        ms_ssim_samples=8,
        permutations=20,
        bootstraps=20,
    )
    tables = []
    for device, how in (("cpu", "inline"), ("cuda", executor)):
        options = RunOptions(
            output=str(tmp_path / device), executor=how, device=device, offline=True, cache=str(tmp_path / "cache")
        )
        result = run_audit(spec, options)
        assert not result.quarantined
        tables.append(Manifest.read(tmp_path / device))
    cpu, cuda = ([manifest.table(name) for name in ("masking", "class_metrics")] for manifest in tables)
    for table, keys in ((0, ["class_id", "site", "group"]), (1, ["class_id"])):
        one, other = (tables[table].sort_values(keys, ignore_index=True) for tables in (cpu, cuda))
        for name in ("score_change", "score_change_abs") if table == 0 else ("precision", "coverage", "ms_ssim"):
            np.testing.assert_allclose(other[name], one[name], atol=2e-3 if table == 0 else 0.05)
