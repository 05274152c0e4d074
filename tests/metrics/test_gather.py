import torch

from visionkit.metrics.gather import gather_by_key


def test_alone_a_process_knows_what_it_knows():
    own = {3: "a", "x": "b"}
    gathered = gather_by_key(own)
    assert gathered == own
    assert gathered is not own


def test_a_key_of_several_processes_counts_once(monkeypatch):
    others = [{0: "zero", 1: "one"}, {1: "one", 2: "two"}, {}]

    def all_gather_object(parts, own):
        parts[:] = [own, *others]

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    monkeypatch.setattr(torch.distributed, "all_gather_object", all_gather_object)
    assert gather_by_key({5: "five"}) == {0: "zero", 1: "one", 2: "two", 5: "five"}
