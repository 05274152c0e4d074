import torch

from visionkit.metrics.all_gather import all_gather_dict


def test_a_single_process_gets_a_copy_of_its_entries():
    own = {3: "a", "x": "b"}
    gathered = all_gather_dict(own)
    assert gathered == own
    assert gathered is not own


def test_a_key_of_several_processes_is_kept_once(monkeypatch):
    others = [{0: "zero", 1: "one"}, {1: "one", 2: "two"}, {}]

    def all_gather_object(parts, own):
        parts[:] = [own, *others]

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    monkeypatch.setattr(torch.distributed, "all_gather_object", all_gather_object)
    assert all_gather_dict({5: "five"}) == {0: "zero", 1: "one", 2: "two", 5: "five"}
