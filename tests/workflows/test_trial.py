"""Models that do not fit together are refused by one small pass before anything is computed."""

import time

import pytest
import torch

from cawa_core.errors import InputError
from cawa_core.numerics.batch_size import BatchSize
from workflows.lab import Lab
from workflows.lab.trial import require_pass
from workflows.options.lab import LabSpec
from workflows.options.run import RunOptions
from workflows.running.job import tried_by_driver


@pytest.fixture
def lab(tiny_generator, tiny_evaluator):
    networks = {"evaluator": tiny_evaluator, "fid_features": tiny_evaluator}
    return Lab(LabSpec(classes=(3,)), RunOptions(), tiny_generator, networks, None, None, BatchSize(4))


def raising(error):
    def model(*_):
        raise error

    return model


def test_models_that_fit_pass_in_no_time(lab):
    require_pass(lab)
    start = time.process_time()
    require_pass(lab)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("model", "change", "message"),
    [
        (
            "generator",
            ("forward", raising(KeyError("gain"))),
            r"cannot make images of class 3: KeyError, 'gain' \(line",
        ),
        ("generator", ("forward", lambda *_: torch.zeros(2, 3, 28, 28)), r"must have shape \[2, 1, 28, 28\]"),
        ("generator", ("forward", lambda *_: torch.full((2, 1, 28, 28), torch.nan)), "1568 of 1568 are not"),
        ("generator", ("forward", lambda *_: torch.full((2, 1, 28, 28), 255.0)), r"in \[-1, 1\]; got 255 to 255"),
        (
            "generator",
            ("forward", lambda *_: torch.zeros(2, 1, 28, 28).byte()),
            "floating-point numbers; got torch.u",
        ),
        ("generator", ("forward", lambda *_: None), "must be a tensor of floating-point numbers; got NoneType"),
        (
            "evaluator",
            ("features", raising(RuntimeError("mat1\nmat2"))),
            r"evaluator .* take images .*RuntimeError, mat1 \(",
        ),
        ("evaluator", ("features", raising(InputError("needs 64"))), "needs 64"),
        (
            "evaluator",
            ("features", lambda *_: torch.zeros(2, 128, 1, 1)),
            r"must have shape \[2, 1\]; got \[2, 128, 1, 1\]",
        ),
        ("evaluator", ("features", lambda *_: torch.zeros(1, 128)), r"must have shape \[2, 128\]; got \[1, 128\]"),
        ("evaluator", ("features", lambda *_: torch.full((2, 128), torch.inf)), "use --dtype float32"),
        ("evaluator", ("logits_of_features", lambda *_: torch.zeros(2, 9)), r"must have shape \[2, 10\]; got \[2, 9\]"),
        ("evaluator", ("logits_of_features", raising(ValueError())), "cannot score images .*ValueError, ValueError"),
        ("evaluator", ("logits_of_features", lambda *_: torch.full((2, 10), torch.nan)), "20 of 20 are not"),
        ("evaluator", ("log_probabilities", lambda *_: torch.zeros(2, 10).double()), "they sum to 10: fix"),
        (
            "fid_features",
            ("features", raising(TypeError("x"))),
            "fid_features .* choose another --fid-features: TypeError",
        ),
    ],
)
def test_models_that_do_not_fit_are_refused_in_one_line(lab, tiny_evaluator, model, change, message):
    if model == "fid_features":
        lab.networks[model] = type(tiny_evaluator).__new__(type(tiny_evaluator))
        lab.networks[model].__dict__.update(tiny_evaluator.__dict__)
    setattr(lab.generator if model == "generator" else lab.networks[model], *change)
    with pytest.raises(InputError, match=message) as caught:
        require_pass(lab)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), RuntimeError("CUDA error: device-side assert")])
def test_faults_of_the_machine_are_left_to_the_shards(lab, error):
    lab.generator.forward = raising(error)
    require_pass(lab)


def test_models_are_tried_where_they_compute():
    assert tried_by_driver(RunOptions(executor="inline", device="cuda"))
    assert tried_by_driver(RunOptions(executor="ray", device="cpu"))
    assert not tried_by_driver(RunOptions(executor="ray", device="cuda"))
