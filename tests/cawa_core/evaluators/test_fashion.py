import pytest
import torch
from torch import nn

from cawa_core.errors import InputError
from cawa_core.evaluators.small_cnn import FashionCNN, SmallClassifier
from cawa_core.real_images.fashion import FashionMnistTest


def test_folded_batch_norms_give_the_same_logits():
    torch.manual_seed(0)
    network = SmallClassifier()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    images = torch.rand(4, 1, 28, 28) * 2 - 1
    expected = network.eval()(images).detach()
    folded = FashionCNN(network, "")
    torch.testing.assert_close(folded.logits_of_features(folded.features(images)), expected, atol=1e-4, rtol=1e-4)


def test_probabilities_sum_to_one_in_float64(tiny_evaluator):
    log_probabilities = tiny_evaluator.log_probabilities(torch.zeros(2, 1, 28, 28))
    assert log_probabilities.dtype == torch.float64
    torch.testing.assert_close(log_probabilities.exp().sum(dim=1), torch.ones(2, dtype=torch.float64))


def test_images_of_another_size_are_refused(tiny_evaluator):
    with pytest.raises(InputError, match=r"fashion-cnn needs images \[n, 1, 28, 28\]; got \[2, 3, 28, 28\]"):
        tiny_evaluator.features(torch.zeros(2, 3, 28, 28))


@pytest.mark.slow
def test_the_bundled_classifier_knows_the_test_images(bundled_evaluator):
    data, hits = FashionMnistTest(), 0
    for class_id in range(10):
        images = data.images_of(class_id)
        assert images.shape == (1000, 1, 28, 28)
        assert images.min() == -1
        assert images.max() == 1
        with torch.inference_mode():
            hits += int((bundled_evaluator.log_probabilities(images).argmax(dim=1) == class_id).sum())
    assert hits >= 9200
