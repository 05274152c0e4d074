"""Loading backbone weights: sources, and errors."""

import functools
import hashlib
import http.server
import logging
import pickle
import socket
import threading
import time

import pytest
import torch
import torchvision
from torchvision.models.feature_extraction import create_feature_extractor

from tests.helpers.real_data import real_data
from visionkit.backbones import create_backbone, published_weights
from visionkit.backbones.published_weights import PublishedWeights, UnavailableError
from visionkit.backbones.resnet import ResNet
from visionkit.errors import CheckpointError, ConfigError

LITE = "timm/tf_efficientnet_lite0"


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch, tmp_path):
    """No network access, and only the weights on disk that a test writes."""
    monkeypatch.setenv("VISIONKIT_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("VISIONKIT_WEIGHTS", raising=False)


@pytest.fixture(scope="module")
def resnet18_state():
    torch.manual_seed(1)
    return randomized(torchvision.models.resnet18()).state_dict()


@pytest.fixture
def resnet18_file(tmp_path, resnet18_state):
    return saved(resnet18_state, tmp_path / "resnet18.pth")


@pytest.fixture
def online(monkeypatch):
    monkeypatch.setenv("VISIONKIT_OFFLINE", "0")
    published_weights.unreachable.cache_clear()
    yield
    published_weights.unreachable.cache_clear()


def saved(content, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def randomized(network):
    """Change statistics and affine parameters of the norms from their initial values, so that tests depend on them."""
    for value in network.state_dict().values():
        if value.ndim == 1 and value.is_floating_point():
            value.uniform_(0.5, 1.5)
    return network


def light(name):
    """torchvision's network with random weights, without its large classifier."""
    with torch.device("meta"):
        network = torchvision.models.get_model(name)
    if hasattr(network, "classifier"):
        network.classifier = torch.nn.Identity()
    network.to_empty(device="cpu")
    for module in network.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return randomized(network)


def zeros(name):
    """Return a state dict of torchvision's network without its classifier, whose zeros take no memory."""
    with torch.device("meta"):
        state = torchvision.models.get_model(name).state_dict()
    return {
        key: torch.zeros((), dtype=value.dtype).expand(value.shape)
        for key, value in state.items()
        if not key.startswith("classifier.")
    }


def holds(backbone, state, rename=lambda key: key):
    own = backbone.state_dict()
    return all(torch.equal(value, state[rename(key)]) for key, value in own.items())


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def refused(call, *words):
    """The message of the CheckpointError that `call` raises, checked for length and `words`."""
    with pytest.raises(CheckpointError) as caught:
        call()
    message = str(caught.value)
    assert len(message.splitlines()) <= 5
    assert [word for word in words if word not in message] == []
    return message


# none


def test_none_is_random_and_says_so(caplog):
    backbone = create_backbone("resnet18", weights="none")
    assert backbone.initialized_from == backbone.spec["initialized_from"] == "random"
    assert warnings(caplog) == []


@pytest.mark.parametrize("policy", [{"frozen_stages": 1}, {"batch_norm": "frozen"}, {"batch_norm": "eval"}])
def test_nothing_is_frozen_over_random_values(policy):
    with pytest.raises(ConfigError, match="weights=imagenet"):
        create_backbone("resnet18", weights="none", **policy)


def test_freezing_later_is_refused_too():
    with pytest.raises(ConfigError, match="random"):
        create_backbone("resnet18", weights="none").freeze(1)


# auto and imagenet


@pytest.mark.parametrize("name", ["resnet18", LITE])
def test_auto_without_weights_warns_once_and_trains_everything(name, caplog):
    backbone = create_backbone(name, weights="auto", batch_norm="frozen", frozen_stages=2)
    (message,) = warnings(caplog)
    assert "NO PRETRAINED WEIGHTS" in message
    assert "All of it trains, despite batch_norm=frozen and frozen_stages=2" in message
    assert (backbone.batch_norm, backbone.frozen_stages, backbone.initialized_from) == ("trained", 0, "random")
    spec = backbone.spec
    assert (spec["batch_norm"], spec["frozen_stages"], spec["initialized_from"]) == ("trained", 0, "random")
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_auto_is_the_default(caplog):
    assert create_backbone("resnet18").initialized_from == "random"
    assert len(warnings(caplog)) == 1


def test_imagenet_that_cannot_be_had_is_an_error(tmp_path):
    refused(
        lambda: create_backbone("resnet50", weights="imagenet"),
        "resnet50-11ad3fa6.pth",
        str(tmp_path),
        "VISIONKIT_OFFLINE",
        "$VISIONKIT_WEIGHTS",
    )


@pytest.mark.parametrize("weights", ["auto", "imagenet"])
@pytest.mark.parametrize("file_name", ["resnet18-f37072fd.pth", "resnet18-imagenet.pth"])
@pytest.mark.parametrize("own_folder", [True, False])
def test_weights_on_disk_are_taken(weights, file_name, own_folder, tmp_path, resnet18_state, monkeypatch, caplog):
    folder = tmp_path / "mine" if own_folder else tmp_path / "torch" / "hub" / "checkpoints"
    saved(resnet18_state, folder / file_name)
    if own_folder:
        monkeypatch.setenv("VISIONKIT_WEIGHTS", str(folder))
    backbone = create_backbone("resnet18", weights=weights, batch_norm="eval", frozen_stages=1)
    assert holds(backbone, resnet18_state)
    assert (backbone.initialized_from, backbone.batch_norm, backbone.frozen_stages) == ("imagenet", "eval", 1)
    assert warnings(caplog) == []


def test_a_broken_file_on_disk_is_not_taken_for_a_missing_one(tmp_path, monkeypatch):
    (tmp_path / "resnet18-imagenet.pth").write_bytes(b"half a file")
    monkeypatch.setenv("VISIONKIT_WEIGHTS", str(tmp_path))
    refused(lambda: create_backbone("resnet18", weights="auto"), "resnet18-imagenet.pth", "truncated")


def test_a_weights_folder_that_is_none_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("VISIONKIT_WEIGHTS", str(tmp_path / "nowhere"))
    refused(lambda: create_backbone("resnet18", weights="auto"), "VISIONKIT_WEIGHTS", "nowhere")


@pytest.mark.parametrize(("name", "version"), [("resnet50", "V2"), ("resnet18", "V1"), ("vgg16_bn", "V1")])
def test_the_default_weights_of_torchvision_are_meant(name, version):
    weights = torchvision.models.get_model_weights(name)[f"IMAGENET1K_{version}"]
    assert create_backbone(name, weights="none").published_weights().url == weights.url


def test_timm_weights_in_the_cache_of_its_hub_are_taken(tmp_path, caplog, monkeypatch):
    import huggingface_hub
    import timm
    from safetensors.torch import save_file

    state = randomized(timm.create_model("resnet18")).state_dict()
    file = tmp_path / "model.safetensors"
    save_file(state, file)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repository, name: str(file))
    backbone = create_backbone("timm/resnet18", weights="auto")
    assert holds(backbone, state, lambda key: key.removeprefix("body."))
    assert warnings(caplog) == []


# fetching


@pytest.fixture
def server(tmp_path, resnet18_state):
    """A local server of a state dict; gives its address and the file's SHA-256."""
    file = saved(resnet18_state, tmp_path / "served" / "weights.pth")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(file.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}/weights.pth", hashlib.sha256(file.read_bytes()).hexdigest()
        serving.shutdown()


def publish(monkeypatch, url, file_name):
    monkeypatch.setattr(ResNet, "published_weights", lambda self: PublishedWeights(url, (file_name,)))


def test_weights_are_fetched_once(server, online, monkeypatch, tmp_path, resnet18_state):
    url, digest = server
    publish(monkeypatch, url, f"resnet18-{digest[:8]}.pth")
    assert holds(create_backbone("resnet18", weights="imagenet"), resnet18_state)
    assert (tmp_path / "torch" / "hub" / "checkpoints" / f"resnet18-{digest[:8]}.pth").is_file()
    monkeypatch.setenv("VISIONKIT_OFFLINE", "1")
    assert holds(create_backbone("resnet18", weights="imagenet"), resnet18_state)


def test_a_fetched_file_with_another_hash_is_not_used(server, online, monkeypatch, tmp_path):
    publish(monkeypatch, server[0], "resnet18-0123abcd.pth")
    refused(lambda: create_backbone("resnet18", weights="imagenet"), "hash")
    assert list((tmp_path / "torch" / "hub" / "checkpoints").iterdir()) == []


def test_offline_forbids_to_fetch(server, monkeypatch, caplog):
    publish(monkeypatch, server[0], "resnet18.pth")
    create_backbone("resnet18", weights="auto")
    assert "VISIONKIT_OFFLINE" in warnings(caplog)[0]


def test_a_machine_that_does_not_answer_is_given_up_soon(online, monkeypatch):
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        monkeypatch.setattr(published_weights, "PROBE_SECONDS", 0.3)
        publish(monkeypatch, f"http://127.0.0.1:{mute.getsockname()[1]}/resnet18.pth", "resnet18.pth")
        start = time.monotonic()
        refused(lambda: create_backbone("resnet18", weights="imagenet"), "could not be downloaded")
        assert time.monotonic() - start < 3


def test_an_address_without_the_file_is_unavailable(server, online, monkeypatch):
    publish(monkeypatch, server[0] + ".missing", "resnet18.pth")
    with pytest.raises(UnavailableError, match="404"):
        create_backbone("resnet18", weights="imagenet")


# published files


def stem(name):
    """torchvision's nodes of the maps that stand for our stages."""
    vgg = {"vgg11": (1, 4, 9, 14, 19, 20), "vgg16": (3, 8, 15, 22, 29, 30), "vgg11_bn": (2, 6, 13, 20, 27, 28)}
    nodes = {
        "resnet18": {"s4": "layer1", "s8": "layer2", "s16": "layer3", "s32": "layer4"},
        "resnet50": {"s4": "layer1", "s8": "layer2", "s16": "layer3", "s32": "layer4"},
        "densenet121": {f"s{2 ** (n + 1)}": f"features.transition{n}.relu" for n in (1, 2, 3)} | {"s32": "relu"},
    }
    nodes |= {name: {f"s{2**n}": f"features.{at}" for n, at in enumerate(places)} for name, places in vgg.items()}
    return {node: stage for stage, node in nodes[name].items()}


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg11", "vgg16", "vgg11_bn", "densenet121"])
def test_maps_equal_those_of_torchvision(name, tmp_path):
    torch.manual_seed(2)
    network = light(name).eval()
    state = {**network.state_dict(), ("fc" if name.startswith("resnet") else "classifier") + ".bias": torch.zeros(3)}
    backbone = create_backbone(name, weights=str(saved(state, tmp_path / "theirs.pth"))).eval()
    image = torch.randn(1, 3, 65, 47)
    with torch.no_grad():
        expected = create_feature_extractor(network, return_nodes=stem(name))(image)
        features = backbone(image)
    assert sorted(features) == sorted(expected)
    assert all(torch.equal(features[stage], expected[stage]) for stage in features)
    assert len({float(feature.abs().sum()) for feature in features.values()}) == len(features)


def test_norm_before_transition_is_used_once_in_training(tmp_path):
    network = torchvision.models.densenet121(num_classes=3)
    backbone = create_backbone("densenet121", weights=str(saved(network.state_dict(), tmp_path / "theirs.pth")))
    image = torch.randn(2, 3, 64, 64)
    network.features(image)
    backbone(image)
    ours, theirs = backbone.features.transition2.norm, network.features.transition2.norm
    assert int(ours.num_batches_tracked) == int(theirs.num_batches_tracked) == 1
    assert torch.equal(ours.running_mean, theirs.running_mean)


def test_old_key_names_of_densenet_files_are_understood(tmp_path):
    state = randomized(torchvision.models.densenet121()).state_dict()
    old = {
        key.replace("norm1.", "norm.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv1.", "conv.1.")
        .replace("conv2.", "conv.2."): value
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }
    backbone = create_backbone("densenet121", weights=str(saved(old, tmp_path / "old.pth")))
    learned = {key: value for key, value in backbone.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert all(torch.equal(value, state[key]) for key, value in learned.items())


@pytest.mark.parametrize("wrap", [lambda s: {"model": s, "epoch": 3}, lambda s: {"state_dict": s}])
def test_files_of_training_scripts_are_understood(wrap, tmp_path, resnet18_state):
    file = saved(wrap(resnet18_state), tmp_path / "script.pth")
    assert holds(create_backbone("resnet18", weights=str(file)), resnet18_state)


def test_the_source_is_recorded(resnet18_file):
    assert create_backbone("resnet18", weights=str(resnet18_file)).spec["initialized_from"] == str(resnet18_file)


def test_deeper_stages_of_a_file_are_left_aside(resnet18_file, resnet18_state):
    backbone = create_backbone("resnet18", weights=str(resnet18_file), out_stages=["s8"])
    assert holds(backbone, resnet18_state)
    assert not any(key.startswith("layer3") for key in backbone.state_dict())


def test_real_imagenet_weights_give_the_maps_of_the_whole_network():
    import timm

    file = real_data("weights") / "tf_efficientnet_lite0-imagenet.pth"
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    whole.load_state_dict(torch.load(file, weights_only=True))
    seen = {}
    for stage, block in {"s2": 0, "s4": 1, "s8": 2, "s16": 4, "s32": 6}.items():
        whole.blocks[block].register_forward_hook(lambda _m, _i, output, stage=stage: seen.update({stage: output}))
    backbone = create_backbone(LITE, weights=str(file), batch_norm="frozen", frozen_stages=2)
    backbone.eval()
    image = torch.randn(1, 3, 65, 97)
    with torch.no_grad():
        whole(image)
        features = backbone(image)
    assert list(features) == list(seen)
    assert all(torch.equal(features[stage], seen[stage]) for stage in seen)


@pytest.mark.parametrize("out_stages", [None, ["s16"]])
def test_real_imagenet_weights_are_found_by_name(out_stages, monkeypatch, caplog):
    folder = real_data("weights")
    monkeypatch.setenv("VISIONKIT_WEIGHTS", str(folder))
    backbone = create_backbone(LITE, frozen_stages=1, out_stages=out_stages)
    assert (backbone.initialized_from, backbone.frozen_stages) == ("imagenet", 1)
    assert warnings(caplog) == []
    published_state = torch.load(folder / "tf_efficientnet_lite0-imagenet.pth", weights_only=True)
    assert holds(backbone, published_state, lambda key: key.removeprefix("body."))


@pytest.mark.parametrize("model", ["convnext_atto", "vgg11"])  # timm's feature forms rename the keys of these
def test_timm_models_that_are_taken_apart_load_their_files(model, tmp_path):
    import timm

    with torch.device("meta"):
        shapes = timm.create_model(model).state_dict()
    state = {k: torch.rand(v.shape) for k, v in shapes.items() if not k.startswith(("head", "pre_logits"))}
    backbone = create_backbone(f"timm/{model}", weights=str(saved(state, tmp_path / "timm.pth")))
    assert sorted(float(v.sum()) for v in backbone.state_dict().values()) == sorted(
        float(v.sum()) for v in state.values()
    )


# files that do not fit


@pytest.mark.parametrize(
    ("file_of", "asked", "words"),
    [
        ("resnet18", "resnet34", ["missing", "layer1.2.conv1.weight"]),
        ("resnet34", "resnet18", ["unknown", "layer1.2.conv1.weight"]),
        ("resnet101", "resnet50", ["unknown", "layer3.6.conv1.weight"]),
        ("resnet18", "resnet50", ["missing", "of another shape", "layer1.0.conv1.weight [64, 64, 3, 3]"]),
        ("wide_resnet50_2", "resnet50", ["of another shape"]),
        ("vgg11", "vgg11_bn", ["missing"]),
        ("densenet121", "densenet169", ["missing"]),
        ("resnet18", LITE, ["missing", "unknown", "conv1.weight"]),
    ],
)
def test_a_file_of_another_network_is_named_with_its_keys(file_of, asked, words, tmp_path):
    file = saved(zeros(file_of), tmp_path / "other.pth")
    refused(lambda: create_backbone(asked, weights=str(file)), "other.pth", asked, *words)


def test_a_file_that_does_not_fit_changes_nothing(tmp_path, resnet18_state):
    from visionkit.backbones.load_backbone import load_file

    backbone = create_backbone("resnet18", weights="none")
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    file = saved({**resnet18_state, "layer9.weight": torch.zeros(1)}, tmp_path / "odd.pth")
    refused(lambda: load_file(backbone, file), "unknown (1): layer9.weight")
    assert holds(backbone, before)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_a_truncated_file_is_an_error(share, resnet18_file):
    content = resnet18_file.read_bytes()
    resnet18_file.write_bytes(content[: int(len(content) * share)])
    refused(lambda: create_backbone("resnet18", weights=str(resnet18_file)), "truncated")


def test_a_truncated_safetensors_file_is_an_error(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"\x10\x00\x00")
    refused(lambda: create_backbone("resnet18", weights=str(tmp_path / "x.safetensors")), "truncated")


@pytest.mark.parametrize("weights", ["no/such/file.pth", "imagnet", "."])
def test_a_missing_file_is_an_error_that_names_the_words(weights):
    refused(lambda: create_backbone("resnet18", weights=weights), weights, "auto, imagenet, none")


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (self.marker, "w")


@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_a_file_is_not_run(write, tmp_path):
    write({"conv1.weight": Malicious(str(tmp_path / "ran"))}, tmp_path / "evil.pth")
    refused(lambda: create_backbone("resnet18", weights=str(tmp_path / "evil.pth")), "more than plain tensors")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [[1, 2], {}, {"conv1.weight": "text"}, torch.zeros(3), {"state_dict": 3}])
def test_a_file_without_a_network_is_an_error(content, tmp_path):
    file = saved(content, tmp_path / "list.pth")
    refused(lambda: create_backbone("resnet18", weights=str(file)), "neither a state dict nor")


# visionkit checkpoints


def checkpoint(state, *prefixes, **more):
    entries = {f"{prefix}{key}": value for prefix in prefixes for key, value in state.items()}
    return {"visionkit": {"format": 1}, "state_dict": {**entries, **more}, "epoch": 4}


@pytest.mark.parametrize("name", ["resnet18", "densenet121", LITE])
@pytest.mark.parametrize("prefix", ["pipeline.network.backbone.", "backbone.", "model.encoder.backbone."])
def test_the_backbone_is_taken_out_of_a_checkpoint_of_any_task(name, prefix, tmp_path):
    trained = randomized(create_backbone(name, weights="none"))
    content = checkpoint(trained.state_dict(), prefix, **{"pipeline.network.head.weight": torch.zeros(2)})
    file = saved(content, tmp_path / "best.ckpt")
    again = create_backbone(name, weights=str(file), batch_norm="eval", frozen_stages=1)
    assert holds(again, trained.state_dict())
    assert holds(create_backbone(name, weights=str(file), out_stages=["s8"]), trained.state_dict())


@pytest.mark.parametrize(("prefixes", "word"), [((), "no backbone"), (("a.backbone.", "b.backbone."), "2 backbones")])
def test_a_checkpoint_must_hold_exactly_one_backbone(prefixes, word, tmp_path, resnet18_state):
    file = saved(checkpoint(resnet18_state, *prefixes, head=torch.zeros(1)), tmp_path / "best.ckpt")
    refused(lambda: create_backbone("resnet18", weights=str(file)), word)


def test_a_checkpoint_with_fewer_stages_names_what_is_missing(tmp_path):
    small = create_backbone("resnet18", weights="none", out_stages=["s8"])
    file = saved(checkpoint(small.state_dict(), "pipeline.network.backbone."), tmp_path / "best.ckpt")
    refused(lambda: create_backbone("resnet18", weights=str(file)), "missing", "layer3")


def test_checkpoint_leaves_the_values_to_the_caller_under_any_policy(caplog):
    backbone = create_backbone("resnet18", weights="checkpoint", batch_norm="frozen", frozen_stages=3)
    assert (backbone.batch_norm, backbone.frozen_stages) == ("frozen", 3)
    assert warnings(caplog) == []
