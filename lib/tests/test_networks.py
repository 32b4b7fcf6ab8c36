import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from lib.camera import sample
from lib.networks import (
    Backbone,
    Embedder,
    embed_images,
    load_networks,
    prepare_images,
    sample_embeddings,
    save_networks,
    seed_weights,
)


def make_embedder(seed: int = 0, encoder: str = "resnet18") -> Embedder:
    with seed_weights(seed):
        return Embedder(encoder, 16)


def draw_images(count: int = 2, height: int = 64, width: int = 96) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(3)
    )


class Folder:
    """Stands for a stage and the artefact it becomes."""

    run = "street"

    def __init__(self, folder):
        self.folder, self.manifest = folder, {"files": {}}

    def save_tensors(self, name, tensors, **about):
        from lib.artifacts import write_json

        save_file({k: v.detach().contiguous() for k, v in tensors.items()}, self.folder / name)
        write_json((self.folder / name).with_suffix(".json"), about)
        self.manifest["files"][name] = {}

    def path(self, name):
        return self.folder / name


@pytest.mark.parametrize("encoder", ["resnet18", "resnet34", "resnet50"])
def test_backbone_has_torchvisions_keys_and_strides(encoder):
    backbone, reference = Backbone(encoder), getattr(torchvision.models, encoder)(weights=None)
    assert set(backbone.state_dict()) == {k for k in reference.state_dict() if not k.startswith("fc.")}
    features = backbone.eval()(torch.zeros(1, 3, 64, 96))
    assert [f.shape[1] for f in features] == backbone.channels
    assert [tuple(f.shape[2:]) for f in features] == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_backbone_computes_what_torchvision_computes():
    reference = torchvision.models.resnet18(weights=None).eval()
    backbone = Backbone("resnet18").eval()
    load = {k: v for k, v in reference.state_dict().items() if not k.startswith("fc.")}
    backbone.load_state_dict(load)
    x = torch.randn(1, 3, 64, 64)
    pooled = backbone(x)[-1].mean((2, 3))
    torch.testing.assert_close(reference.fc(pooled), reference(x))


@pytest.mark.parametrize("encoder", ["resnet18", "resnet50"])
def test_the_saved_backbone_loads_into_torchvision_and_timm(tmp_path, encoder):
    embedder, folder = make_embedder(encoder=encoder), Folder(tmp_path)
    embedder(draw_images())  # moves the running statistics
    save_networks(folder, embedder)
    saved = load_file(tmp_path / "backbone.safetensors")
    timm = pytest.importorskip("timm")
    images = torch.randn(2, 3, 64, 64)
    expected = embedder.backbone.eval()(images)[-1]
    others = getattr(torchvision.models, encoder)(weights=None), timm.create_model(encoder, pretrained=False)
    for other in others:
        missing, unknown = other.load_state_dict(saved, strict=False)
        assert {name.split(".")[0] for name in missing} == {"fc"}
        assert not unknown
    torchvisions, timms = (other.eval() for other in others)
    torch.testing.assert_close(timms.forward_features(images), expected, rtol=1e-4, atol=1e-4)  # another order of sums
    torchvisions.avgpool = torchvisions.fc = torch.nn.Identity()
    torch.testing.assert_close(torchvisions(images), expected.flatten(1), rtol=1e-4, atol=1e-4)


def test_embeddings_have_stride_4_and_gradients_reach_every_weight():
    embedder = make_embedder()
    embeddings = embedder(draw_images())
    assert embeddings.shape == (2, 16, 16, 24)
    embeddings.square().mean().backward()
    for name, weight in embedder.named_parameters():
        assert weight.grad is not None, name
        assert bool(torch.isfinite(weight.grad).all()), name
    with pytest.raises(ValueError, match="multiples of 32"):
        embedder(draw_images(height=60))


def test_same_seed_gives_the_same_weights_and_leaves_torchs_generator_alone():
    state = torch.get_rng_state()
    one, two, other = make_embedder(1), make_embedder(1), make_embedder(2)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values()))
    assert not torch.equal(one.backbone.conv1.weight, other.backbone.conv1.weight)


def test_images_are_normalised_as_imagenet():
    images = draw_images()
    expected = (images[0, 5, 7].double() / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
        [0.229, 0.224, 0.225]
    )
    torch.testing.assert_close(prepare_images(images)[0, :, 5, 7].double(), expected, rtol=1e-5, atol=1e-5)


def test_batches_do_not_matter_and_the_mode_is_kept():
    embedder, images = make_embedder(), draw_images(5)
    one, many = embed_images(embedder, images, batch=1), embed_images(embedder, images.numpy(), batch=8)
    torch.testing.assert_close(one, many, rtol=1e-4, atol=1e-4)
    assert embedder.training


def test_a_point_reads_the_cell_it_lies_in():
    """On a map that is linear in position, the value at a pixel is the function itself."""
    y, x = np.mgrid[0:16, 0:24]
    cells = torch.tensor(np.stack([4 * x + 1.5, 4 * y + 1.5]), dtype=torch.float32)  # centres, in pixels
    points = torch.tensor([[10.0, 20.0], [33.3, 41.7], [1.5, 1.5]])
    both = torch.stack([cells, cells + 1000])
    torch.testing.assert_close(sample_embeddings(both, torch.tensor([0, 1, 0]), points)[::2], points[::2])
    torch.testing.assert_close(sample_embeddings(both, torch.tensor([1, 1, 1]), points), points + 1000)


@pytest.mark.parametrize("size", [(4, 6), (1, 5), (1, 1)])
def test_embeddings_and_their_gradients_are_those_of_grid_sample(size):
    maps = torch.randn(3, 5, *size, dtype=torch.float64, requires_grad=True)
    view, points = torch.randint(0, 3, (40,)), torch.rand(40, 2) * torch.tensor([4.0 * size[1], 4.0 * size[0]]) - 0.5
    expected = torch.stack(
        [
            sample(maps[v, None], ((p + 0.5) / 4 - 0.5).double()[None, None, None])[0, :, 0, 0]
            for v, p in zip(view, points)
        ]
    )
    found = sample_embeddings(maps, view, points)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(found)
    ours, theirs = (torch.autograd.grad((f * weights).sum(), maps)[0] for f in (found, expected))
    torch.testing.assert_close(ours, theirs)


def test_saved_networks_come_back(tmp_path):
    embedder, folder = make_embedder(), Folder(tmp_path)
    embedder(draw_images())  # moves the running statistics
    weight = F.normalize(torch.randn(9, 16))
    save_networks(folder, embedder, weight)
    loaded, prototypes = load_networks(folder)
    torch.testing.assert_close(embed_images(loaded, draw_images()), embed_images(embedder, draw_images()))
    assert torch.equal(prototypes, weight)
    assert not loaded.training
