"""Depth by networks of others: units, sizes, licences, and what is said when something is missing."""

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from lib.depth.sources import FAR, describe, open_source

from .fixtures import depth_params, take


class Fake:
    """A package transformers whose models give `value(column)` at half the size of the image, and note batches."""

    def __init__(self, value, model_type="depth_anything", error=None, **config):
        self.value, self.batches, self.error = value, [], error
        self.config = SimpleNamespace(model_type=model_type, **config)
        self.options = {}

    def load(self, what):
        def from_pretrained(name, **options):
            if self.error:
                raise self.error
            self.options |= options
            return what

        return SimpleNamespace(from_pretrained=from_pretrained)

    def install(self, monkeypatch):
        module = ModuleType("transformers")
        module.AutoConfig = self.load(self.config)
        module.AutoImageProcessor = self.load(self)
        network = torch.nn.Identity()
        network.forward = self.predict
        module.AutoModelForDepthEstimation = self.load(network)
        monkeypatch.setitem(sys.modules, "transformers", module)
        return self

    def __call__(self, images, return_tensors):
        assert return_tensors == "pt"
        assert all(image.dtype == np.uint8 for image in images)
        return {"pixel_values": torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()}

    def predict(self, pixel_values):
        count, _, height, width = pixel_values.shape
        self.batches.append(count)
        columns = torch.arange(width // 2).float().expand(count, height // 2, -1)
        return SimpleNamespace(predicted_depth=self.value(columns))

    def post_process_depth_estimation(self, outputs, source_sizes=None):
        return [{"predicted_depth": torch.full(size, 4.0)} for size in source_sizes]


def foreign(street, model, **more):
    return open_source(depth_params(f"hugging_face:{model}", batch=2, device="cpu", **more), street)


def test_relative_inverse_depth_of_a_foreign_network(street, monkeypatch):
    fake = Fake(lambda x: x + 3, depth_estimation_type="relative").install(monkeypatch)
    frames = street.frames("val")[:5]
    source = foreign(street, "depth-anything/Depth-Anything-V2-Small-hf")
    maps = take(source, street, frames)
    assert fake.batches == [2, 2, 1]
    assert fake.options["use_safetensors"] is True
    expected = np.clip((np.arange(128) + 0.5) / 2 - 0.5, 0, 63) + 3  # bilinear, pixel centres at halves
    np.testing.assert_allclose(maps, np.broadcast_to(expected, maps.shape), rtol=1e-5)
    assert not source.metric
    assert source.largest is None
    assert source.name == "hugging_face:depth-anything/Depth-Anything-V2-Small-hf"
    assert source.notes == ["depth-anything/Depth-Anything-V2-Small-hf: licence Apache-2.0."]


def test_negative_relative_values_are_lifted_and_zeros_are_far(street, monkeypatch):
    frames = street.frames("val")[:1]
    Fake(lambda x: x - 10).install(monkeypatch)  # an old configuration: without depth_estimation_type
    maps = take(foreign(street, "LiheYoung/depth-anything-large-hf"), street, frames)
    np.testing.assert_allclose(maps[0, 0], np.maximum(np.clip((np.arange(128) + 0.5) / 2 - 0.5, 0, 63), FAR), atol=1e-4)
    assert (maps > 0).all()
    Fake(lambda x: 0 * x, "dpt").install(monkeypatch)
    assert (take(foreign(street, "Intel/dpt-hybrid-midas"), street, frames) == np.float32(FAR)).all()


@pytest.mark.parametrize(
    ("model", "model_type", "config"),
    [
        (
            "depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf",
            "depth_anything",
            {"depth_estimation_type": "metric"},
        ),
        ("somebody/depth-anything-metric", "depth_anything", {}),
        ("vinvino02/glpn-kitti", "glpn", {}),
        ("facebook/dpt-dinov2-small-kitti", "dpt", {"backbone_config": SimpleNamespace(model_type="dinov2")}),
    ],
)
def test_metres_become_inverse_depth(street, monkeypatch, model, model_type, config):
    Fake(lambda x: 0 * x + 8, model_type, **config).install(monkeypatch)
    source = foreign(street, model, accept_noncommercial=True)
    assert (take(source, street, street.frames("val")[:1]) == 0.125).all()
    assert (source.metric, source.unit, source.largest) == (True, "1 / metre", 2.0)


def test_models_that_pad_the_image_undo_it_themselves(street, monkeypatch):
    Fake(lambda x: 0 * x + 8, "zoedepth").install(monkeypatch)
    source = foreign(street, "Intel/zoedepth-nyu-kitti")
    assert (take(source, street, street.frames("val")[:3]) == 0.25).all()
    assert source.notes == ["Intel/zoedepth-nyu-kitti: licence MIT."]


@pytest.mark.parametrize("size", ["Base", "Large", "Giant", "Metric-Outdoor-Large", "Metric-Indoor-Base"])
def test_a_noncommercial_licence_must_be_accepted(street, monkeypatch, size, tmp_path):
    monkeypatch.setitem(sys.modules, "transformers", None)  # asked before anything is loaded
    model = f"depth-anything/Depth-Anything-V2-{size}-hf"
    with pytest.raises(ValueError, match="CC-BY-NC-4.0, which forbids commercial use: set accept_noncommercial = True"):
        foreign(street, model)
    folder = tmp_path / "mine"  # a renamed copy says where it came from
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"_name_or_path": model}))
    with pytest.raises(ValueError, match="forbids commercial use"):
        foreign(street, folder)
    Fake(lambda x: x, depth_estimation_type="relative").install(monkeypatch)
    assert "no commercial use" in describe(foreign(street, model, accept_noncommercial=True))


@pytest.mark.parametrize("model", ["apple/DepthPro-hf", "apple/DepthPro", "somebody/depth_pro-8bit"])
def test_depth_pro_is_for_research(street, monkeypatch, model):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"licence Apple-AMLR \(for research\), which forbids commercial use"):
        foreign(street, model)


@pytest.mark.parametrize(
    "model",
    ["somebody/depth", "Intel/dpt-large", "Intel/zoedepth-nyu", "somebody/Depth-Anything-V2-Small-of-mine"],
)
def test_an_unknown_licence_must_be_accepted(street, monkeypatch, model):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "transformers", None)  # asked before anything is loaded
        text = (
            f"the licence of {model} is not known to this project: read .*https://huggingface.co/{model}.*, and set acc"
        )
        with pytest.raises(ValueError, match=text):
            foreign(street, model)
    Fake(lambda x: x + 1, "dpt").install(monkeypatch)
    assert f"{model}: licence not known here" in describe(foreign(street, model, accept_noncommercial=True))


def test_a_folder_of_which_nothing_is_known_must_be_accepted(street, monkeypatch, tmp_path):
    Fake(lambda x: x + 1, "dpt").install(monkeypatch)
    with pytest.raises(ValueError, match=r"is not known to this project: read the model's card \(its README.md\)"):
        foreign(street, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"_name_or_path": "Intel/dpt-hybrid-midas"}))
    assert "licence Apache-2.0" in describe(foreign(street, tmp_path))


def test_what_is_missing_is_said_in_one_sentence(street, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"install it with: pip install \"depth-regions\[hugging_face\]\""):
        foreign(street, "somebody/depth", accept_noncommercial=True)
    Fake(None, error=OSError("We couldn't connect\nto anything")).install(monkeypatch)
    with pytest.raises(
        OSError, match="somebody/depth is no folder .* cannot be fetched: check its name and the"
    ) as caught:
        foreign(street, "somebody/depth", accept_noncommercial=True)
    assert "\n" not in str(caught.value)
    Fake(None, error=ValueError("Unrecognized model")).install(monkeypatch)
    with pytest.raises(ValueError, match="somebody/depth is no model that transformers knows"):
        foreign(street, "somebody/depth", accept_noncommercial=True)
    Fake(None, "seen_by_nobody").install(monkeypatch)
    with pytest.raises(
        ValueError, match="of type seen_by_nobody, predicts: choose a model of depth_anything, dpt, glpn"
    ):
        foreign(street, "somebody/depth", accept_noncommercial=True)


def test_a_real_model_in_a_folder(street, tmp_path):
    """Tiny and never trained; of the package itself, without network."""
    transformers = pytest.importorskip("transformers", reason="the optional package transformers is not installed")
    torch.manual_seed(0)
    layers = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 56, "patch_size": 14}
    stages = [f"stage{i}" for i in range(1, 5)]
    backbone = transformers.Dinov2Config(**layers, out_features=stages, reshape_hidden_states=False)
    sizes = {"reassemble_hidden_size": 32, "neck_hidden_sizes": [8] * 4, "fusion_hidden_size": 8, "head_hidden_size": 8}
    side = {"height": 56, "width": 56}
    processor = transformers.DPTImageProcessor(size=side, keep_aspect_ratio=True, ensure_multiple_of=14)
    for kind, metric in {"relative": False, "metric": True}.items():
        about = {"depth_estimation_type": kind, "max_depth": 80 if metric else 1}
        config = transformers.DepthAnythingConfig(backbone_config=backbone, patch_size=14, **sizes, **about)
        network = transformers.DepthAnythingForDepthEstimation(config)
        torch.nn.init.constant_(network.head.conv3.bias, 0.5)  # or the last ReLU leaves nothing
        torch.nn.init.normal_(network.head.conv3.weight)
        network.save_pretrained(tmp_path / kind)
        processor.save_pretrained(tmp_path / kind)
        source = foreign(street, tmp_path / kind, accept_noncommercial=True)
        maps = take(source, street, street.frames("val"))
        assert source.metric is metric
        assert source.name == f"hugging_face:{kind}"
        assert maps.std() > 0
        if metric:
            assert maps.min() >= 1 / 80 - 1e-6
