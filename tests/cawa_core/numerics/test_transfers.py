import torch

from cawa_core.numerics.transfers import Download, in_order, to_device


def test_what_is_on_the_cpu_stays_as_it_is():
    values = torch.arange(3)
    assert to_device(values, torch.device("cpu")) is values
    download = Download.begin({"features": values, "correct": values > 1})
    assert download.arrival is None
    assert torch.equal(download.wait()["features"], values)


def test_downloads_come_in_order_each_after_the_next_has_begun():
    events = []

    def downloads():
        for number in range(3):
            events.append(f"begin {number}")
            yield Download.begin({"number": torch.tensor(number)})

    for arrived in in_order(downloads()):
        events.append(f"use {int(arrived['number'])}")
    assert events == ["begin 0", "begin 1", "use 0", "begin 2", "use 1", "use 2"]
    assert list(in_order([])) == []
