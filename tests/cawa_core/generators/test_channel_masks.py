import torch

from cawa_core.generators.channel_masks import ChannelMasks

CPU = torch.device("cpu")


def test_masks_are_padded_to_the_widest():
    masks = ChannelMasks.of([(4,), (2, 0, 7), ()], CPU)
    assert len(masks) == 3
    assert masks.index.tolist() == [[4, 0, 0], [2, 0, 7], [0, 0, 0]]
    assert masks.present.tolist() == [[True, False, False], [True, True, True], [False, False, False]]
    assert [masks.channels_of(mask).tolist() for mask in range(3)] == [[4], [2, 0, 7], []]


def test_a_part_is_no_wider_than_its_widest():
    masks = ChannelMasks.of([(4,), (5,), (2, 0, 7), ()], CPU)
    assert masks[:2].index.tolist() == [[4], [5]]
    assert masks[1:3].widths == (1, 3)
    assert masks[3:].present.tolist() == [[False]]
    assert len(masks[4:]) == 0
