import torch

from cawa_core.segmenters.small_unet import SmallUNet
from cawa_core.worlds.scenes.vocabulary import LABELS


def test_it_labels_every_pixel_and_is_small():
    network = SmallUNet(len(LABELS)).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 11, 32, 32)
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 11, 64, 64)
    assert sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values()) < 2e6


def test_a_pixel_is_judged_by_its_surroundings():
    """A change of one pixel changes logits of its neighbours, and of none far away."""
    torch.manual_seed(0)
    network = SmallUNet(len(LABELS)).eval()
    images = torch.zeros(2, 3, 64, 64)
    images[1, :, 4, 4] = 1
    with torch.inference_mode():
        logits = network(images)
    changed = (logits[0] != logits[1]).any(dim=0)
    assert changed[3:6, 3:6].all()
    assert not changed[48:, 48:].any()
