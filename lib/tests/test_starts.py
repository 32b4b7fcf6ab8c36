import urllib.error
from argparse import Namespace

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from lib.networks import Backbone
from lib.starts import load_start


def prefixed(prefix, weights):
    return {prefix + name: value for name, value in weights.items()}


def older(weights):
    """A second network of the same shape, which follows the first: not the one to take."""
    return {name: value + 1 if value.is_floating_point() else value for name, value in weights.items()}


LAYOUTS = {  # as the projects write them: name -> file of weights
    "torchvision, supervised": lambda w: w | {"fc.weight": torch.ones(3, 512)},
    "SwAV": lambda w: prefixed(
        "module.", w | {"projection_head.0.weight": torch.ones(2), "prototypes.weight": torch.ones(2)}
    ),
    "MoCo, DenseCL while training, CAST": lambda w: {
        "epoch": 3,
        "arch": "resnet18",
        "state_dict": prefixed("module.encoder_k.", older(w))
        | prefixed("module.encoder_q.", w)
        | {"module.queue": torch.ones(4)},
    },
    "DenseCL as released": lambda w: {"state_dict": w, "author": "OpenSelfSup"},
    "PixPro": lambda w: {
        "opt": Namespace(lr=1.0),
        "epoch": 100,
        "model": prefixed("module.encoder_k.", older(w))
        | prefixed("module.encoder.", w)
        | {"module.projector.conv1.weight": torch.ones(2)},
    },
    "ORL": lambda w: {
        "meta": {"epoch": 800},
        "state_dict": prefixed("backbone.", w) | {"neck.fc.weight": torch.ones(2)},
    },
    "MoCo of OpenSelfSup": lambda w: {"state_dict": prefixed("encoder_k.0.", older(w)) | prefixed("encoder_q.0.", w)},
    "DINO": lambda w: {
        "student": prefixed("module.backbone.", older(w)),
        "teacher": prefixed("backbone.", w) | {"head.mlp.weight": torch.ones(2)},
    },
    "BYOL": lambda w: prefixed("target_encoder.", older(w)) | prefixed("online_encoder.", w),
    "compiled": lambda w: {"model": prefixed("_orig_mod.", w)},
    "a prefix on some keys": lambda w: {"state_dict": prefixed("model.backbone.", w) | {"criterion.x": torch.ones(2)}},
    "MoCo, queue without a prefix": lambda w: prefixed("module.encoder_q.", w) | {"queue": torch.ones(4)},
    "DINO, one of two": lambda w: {"teacher": {}, "student": prefixed("module.backbone.", w)},
    "in a row": lambda w: {"epoch": 3, "model": prefixed("encoder.0.", w)},
    "torchvision's detectors": lambda w: {"model": prefixed("backbone.body.", w), "step": 7},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_checkpoints_of_other_projects(tmp_path, layout):
    source, target = Backbone("resnet18"), Backbone("resnet18")
    torch.save(LAYOUTS[layout](source.state_dict()), tmp_path / "weights.pth")
    taken = load_start(target, str(tmp_path / "weights.pth"), "resnet18")
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters()))
    assert len(taken) == len([k for k in source.state_dict() if not k.endswith("tracked")])


def test_damaged_files_are_one_sentence(tmp_path):
    weights = Backbone("resnet18").state_dict()
    weights["layer1.0.conv1.weight"][0, 0, 0, 0] = torch.nan
    torch.save(weights, tmp_path / "nan.pth")
    with pytest.raises(ValueError, match=r"nan\.pth is damaged: layer1\.0\.conv1\.weight holds values that are no num"):
        load_start(Backbone("resnet18"), str(tmp_path / "nan.pth"), "resnet18")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({3: "x"}, tmp_path / "numbers.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "nan.pth").read_bytes()[:5000])
    for name in ("list.pth", "numbers.pth", "cut.pth", "."):
        with pytest.raises(ValueError, match=r"^start: "):
            load_start(Backbone("resnet18"), str(tmp_path / name), "resnet18")


def test_a_file_without_a_resnet_says_what_it_holds(tmp_path):
    torch.save({"state_dict": {"vit.patch.weight": torch.ones(2)}}, tmp_path / "vit.pth")
    with pytest.raises(ValueError, match=r"no ResNet under a known name \(it begins with vit\.patch\.weight\)"):
        load_start(Backbone("resnet18"), str(tmp_path / "vit.pth"), "resnet18")
    torch.save({}, tmp_path / "empty.pth")
    with pytest.raises(ValueError, match="begins with nothing"):
        load_start(Backbone("resnet18"), str(tmp_path / "empty.pth"), "resnet18")


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}}])
def test_start_from_a_file(tmp_path, wrap):
    source, target = Backbone("resnet18"), Backbone("resnet18")
    torch.save(wrap(source.state_dict()), tmp_path / "weights.pth")
    load_start(target, str(tmp_path / "weights.pth"), "resnet18")
    assert torch.equal(source.layer4[0].conv1.weight, target.layer4[0].conv1.weight)
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    load_start(target, str(tmp_path / "weights.safetensors"), "resnet18")


def test_start_from_a_wrong_file_says_what_is_wrong(tmp_path):
    target = Backbone("resnet18")
    with pytest.raises(FileNotFoundError, match="no file"):
        load_start(target, str(tmp_path / "nothing.pth"), "resnet18")
    torch.save(Backbone("resnet50").state_dict(), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"is no resnet18: layer1\.0\.conv1\.weight has shape"):
        load_start(target, str(tmp_path / "other.pth"), "resnet18")
    (tmp_path / "damaged.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(ValueError, match="no plain weights"):
        load_start(target, str(tmp_path / "damaged.safetensors"), "resnet18")
    torch.save({"state_dict": target}, tmp_path / "pickled.pth")  # a whole module: code, not weights
    with pytest.raises(ValueError, match="no plain weights"):
        load_start(target, str(tmp_path / "pickled.pth"), "resnet18")


def test_no_network_is_one_sentence(monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(ConnectionError, match=r"start = 'imagenet' needs a download that failed .*start = 'random'"):
        load_start(Backbone("resnet18"), "imagenet", "resnet18")


def test_a_download_of_imagenet_weights_is_checked_and_used(monkeypatch):
    """torchvision's file has a classifier too, which is passed over; its hash is in the name."""
    served = torchvision.models.resnet18(weights=None)
    asked = {}

    def serve(url, **options):
        asked.update(options, url=url)
        return served.state_dict()

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", serve)
    backbone = Backbone("resnet18")
    load_start(backbone, "imagenet", "resnet18")
    torch.testing.assert_close(backbone.layer3[0].conv1.weight, served.layer3[0].conv1.weight, rtol=0, atol=0)
    assert asked["check_hash"]
    assert asked["weights_only"]
    assert "resnet18-" in asked["url"]
