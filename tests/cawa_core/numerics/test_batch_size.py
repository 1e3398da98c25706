"""Bytes that autograd keeps, against a count by hand."""

import weakref

import torch

from cawa_core.numerics.batch_size import bytes_for_backward


def test_each_storage_that_the_backward_pass_needs_counts_once():
    x = torch.rand(1000, requires_grad=True)
    kept = 4 * 1000

    def squared_and_exponentiated():
        y = x * x  # keeps x twice, one storage
        return y.exp().sum()  # keeps the exponentials, but not their sum

    assert bytes_for_backward(squared_and_exponentiated) == 2 * kept
    assert bytes_for_backward(lambda: (x + 1).sum()) == 0


def test_storages_that_are_freed_on_the_way_are_not_taken_for_each_other():
    x = torch.rand(1000, requires_grad=True)
    assert bytes_for_backward(lambda: [(x + n).exp() for n in range(5)]) == 5 * 4 * 1000


def test_nothing_of_the_graph_is_left():
    x = torch.rand(1000, requires_grad=True)
    outputs = []

    def exponentiated():
        y = x.exp()  # the graph keeps its own output
        outputs.append(weakref.ref(y))
        return y.sum()

    assert bytes_for_backward(exponentiated) == 4 * 1000
    assert outputs[0]() is None
