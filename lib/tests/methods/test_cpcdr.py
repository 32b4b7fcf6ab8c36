import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lib import artifacts
from lib.copy_paste import prepare_source
from lib.methods.composites import join_positives
from lib.methods.cpcdr import CpcdrTask, find_start
from lib.networks import save_networks
from lib.params import AugmentationParams, TrainingParams
from lib.tests.test_networks import Folder
from lib.training import hash_tensors, train

SMALL = {"prototypes": 16, "dimensions": 8, "pixel_points": 60, "region_points": 80, "workers": 0}


def make_sources(count: int = 5, regions: bool = True, height: int = 64, width: int = 96) -> list:
    rng = np.random.default_rng(0)
    stripes = np.repeat(np.arange(1, 5, dtype=np.uint16), width // 4)[None].repeat(height, 0)
    ids = stripes if regions else np.zeros_like(stripes)
    depth = np.linspace(0.01, 0.3, height, dtype=np.float32)[:, None].repeat(width, 1)
    images = [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]
    return [prepare_source(image, ids, depth) for image in images]


def make_task(recipe: dict | None = None, sources: list | None = None, **values) -> CpcdrTask:
    sources = make_sources() if sources is None else sources
    return CpcdrTask(TrainingParams(**{**SMALL, **values}), AugmentationParams(images=2, **(recipe or {})), sources)


def test_joined_positives_keep_their_views_and_groups_apart():
    rng = np.random.default_rng(1)
    parts = [
        (rng.integers(0, views, 50), rng.random((50, 2)).astype(np.float32), rng.integers(3, 9, 50) * 7)
        for views in (4, 6, 2)
    ]
    joined = join_positives([tuple(map(torch.from_numpy, part)) for part in parts], [4, 6, 2])
    assert torch.equal(joined["points"], torch.from_numpy(np.concatenate([xy for _, xy, _ in parts])))
    assert joined["view"].tolist() == [v + k for (view, _, _), k in zip(parts, (0, 4, 10)) for v in view]
    names = [(part, g) for part, (_, _, group) in enumerate(parts) for g in group]
    same = np.array([[a == b for b in names] for a in names])
    assert np.array_equal(same, (joined["group"][:, None] == joined["group"][None]).numpy())
    assert sorted(set(joined["group"].tolist())) == list(range(joined["groups"]))


def test_several_items_a_step_are_those_of_as_many_steps():
    one, two = make_task(sources=make_sources(8)), make_task(sources=make_sources(8), items=2)
    joined, parts = two.sample(3), [one.sample(6), one.sample(7)]
    assert torch.equal(joined["images"], torch.cat([p["images"] for p in parts]))
    for branch in ("pixel", "region"):
        assert torch.equal(joined[f"{branch}_points"], torch.cat([p[f"{branch}_points"] for p in parts]))
        assert joined[f"{branch}_groups"] == sum(p[f"{branch}_groups"] for p in parts)
        first, second = (p[f"{branch}_group"] for p in parts)
        assert torch.equal(joined[f"{branch}_group"], torch.cat([first, second + parts[0][f"{branch}_groups"]]))


@pytest.mark.parametrize("items", [1, 2])
def test_a_batch_made_on_the_device_is_that_of_the_workers(items):
    here, there = (make_task(sources=make_sources(8), items=items, composites=c) for c in ("workers", "device"))
    for step in range(3):
        a, drawn = here.sample(step), pickle.loads(pickle.dumps(there.sample(step)))  # as it comes from a worker
        assert not isinstance(drawn, dict)
        b = drawn.to("cpu")
        assert int((a.pop("images").int() - b.pop("images").int()).abs().max()) <= 2
        assert equal_batches(a, b)


class Counted(list):
    """Sources that know how often they were asked for one."""

    asked = 0

    def __getitem__(self, index: int):
        self.asked += 1
        return super().__getitem__(index)


@pytest.mark.parametrize("composites", ["workers", "device"])
def test_each_source_of_an_item_is_asked_for_once(composites):
    sources = Counted(make_sources())  # packed ones are made when they are asked for, which takes long
    task = make_task(sources=sources, composites=composites)
    task.make_batch(0)
    assert sources.asked == task.sample.recipe.images


def test_workers_draw_and_the_training_makes_the_same_composites(tmp_path):
    values = {"composites": "device", "precision": "float32"}
    hashes = set()
    for workers in (0, 1):
        task = make_task(**values)
        settings = {"device": torch.device("cpu"), "learning_rate": 1e-3, "workers": workers}
        train(task, tmp_path / str(workers), steps=3, key={}, **settings)
        hashes.add(hash_tensors(task.networks.state_dict()))
    assert len(hashes) == 1


def equal_batches(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_a_batch_is_a_function_of_seed_and_step_alone():
    task = make_task()
    sample = pickle.loads(pickle.dumps(task.sample))  # as a worker gets it
    a, b, other = task.sample(7), sample(7), task.sample(8)
    assert equal_batches(a, b)
    assert not torch.equal(a["images"], other["images"])
    assert a["images"].shape == (4, 64, 96, 3)
    assert a["images"].dtype == torch.uint8
    assert not torch.equal(a["images"], make_task(seed=1).sample(7)["images"])


def test_an_epoch_takes_each_image_at_most_once_and_the_next_groups_them_anew():
    sample = make_task(sources=make_sources(6)).sample
    epochs = [[sample.choose(step) for step in range(e * 3, e * 3 + 3)] for e in range(4)]
    for epoch in epochs:
        assert len({s for item in epoch for s in item}) == 6
    assert len({str(epoch) for epoch in epochs}) > 1


def slow_branch(task: CpcdrTask, embeddings: torch.Tensor, batch: dict, branch: str) -> float:
    """Eqs. 4 to 6, sample by sample, in float64; imports nothing from the modules under test."""
    maps, weight = (
        embeddings.double().numpy(),
        F.normalize(task.networks["prototypes"].weight.detach()).double().numpy(),
    )
    views, points, groups = (batch[f"{branch}_{name}"].numpy() for name in ("view", "points", "group"))
    scores = []
    for view, point in zip(views, points):
        cx, cy = ((point.astype(float) + 0.5) / 4 - 0.5).clip(0, [maps.shape[3] - 1, maps.shape[2] - 1])
        x, y = min(int(cx), maps.shape[3] - 2), min(int(cy), maps.shape[2] - 2)
        fx, fy = cx - x, cy - y
        top = maps[view, :, y, x] * (1 - fx) + maps[view, :, y, x + 1] * fx
        low = maps[view, :, y + 1, x] * (1 - fx) + maps[view, :, y + 1, x + 1] * fx
        z = top * (1 - fy) + low * fy
        scores.append(weight @ z / np.linalg.norm(z))
    scores = np.array(scores)
    q = np.exp(scores / task.params.epsilon).T
    for _ in range(3):
        q /= q.sum(1, keepdims=True)
        q /= q.sum(0, keepdims=True)
    loss = 0.0
    for n in range(len(scores)):
        target = q.T[groups == groups[n]].mean(0)
        p = np.exp(scores[n] / 0.1) / np.exp(scores[n] / 0.1).sum()
        loss -= (target * np.log(p)).sum() / len(scores)
    return loss


def test_loss_equals_a_slow_transcription():
    task = make_task(pixel_weight=0.3)
    batch = task.sample(0)
    task.networks["embedder"].eval()
    loss, numbers = task.loss(batch, 0)
    with torch.no_grad():
        embeddings = task.networks["embedder"](batch["images"])
    pixel, region = (slow_branch(task, embeddings, batch, name) for name in ("pixel", "region"))
    assert float(numbers["loss_pixel"]) == pytest.approx(pixel, rel=1e-6)
    assert float(numbers["loss_region"]) == pytest.approx(region, rel=1e-6)
    assert float(loss.detach()) == pytest.approx(0.3 * pixel + 0.7 * region, rel=1e-6)


def test_gradients_are_finite_and_reach_every_weight():
    task = make_task()
    loss, numbers = task.loss(task.sample(0), 0)
    loss.backward()
    for name, weight in task.networks.named_parameters():
        assert weight.grad is not None, name
        assert bool(torch.isfinite(weight.grad).all()), name
    assert {"prototypes_used", "code_entropy", "effective_rank", "loss_pixel", "loss_region"} <= set(numbers)


@pytest.mark.parametrize(("weight", "branch"), [(1.0, "pixel"), (0.0, "region")])
def test_a_branch_without_weight_is_not_made(weight, branch):
    task = make_task(pixel_weight=weight)
    batch = task.sample(0)
    assert {name.split("_")[0] for name in batch} == {"images", branch}
    loss, numbers = task.loss(batch, 0)
    assert float(loss.detach()) == pytest.approx(float(numbers[f"loss_{branch}"]))


def test_training_learns_and_no_paste_works_too(tmp_path):
    for paste in (True, False):
        task = make_task(paste=paste)
        options = {"steps": 6, "learning_rate": 0.1, "device": torch.device("cpu"), "key": {}}
        history = train(task, tmp_path / str(paste), **options)
        assert np.isfinite(history.columns["loss"]).all()


def test_what_cannot_work_is_one_sentence():
    with pytest.raises(ValueError, match="an item needs 2 images, the run has 1"):
        make_task(sources=make_sources(1))
    with pytest.raises(ValueError, match="step 0: no pixel positives"):
        make_task(sources=make_sources(regions=False)).sample(0)


def test_it_starts_from_an_earlier_training_as_far_as_that_fits(tmp_path):
    earlier, saved = make_task(seed=1), Folder(tmp_path)
    save_networks(saved, earlier.networks["embedder"], earlier.networks["prototypes"].weight)
    weights = earlier.networks.state_dict()

    def begin(**values):
        params = TrainingParams(**{**SMALL, **values})
        return CpcdrTask(params, AugmentationParams(images=2), make_sources(), saved).networks.state_dict()

    same = begin()
    assert all(torch.equal(same[name], weights[name]) for name in weights)
    other = begin(dimensions=16, prototypes=32)
    kept = {name.split(".")[1] for name in weights if name in other and torch.equal(other[name], weights[name])}
    assert {"backbone", "head"} <= kept
    assert other["prototypes.weight"].shape == (32, 16)
    with pytest.raises(ValueError, match="04 of run 'street' has a resnet18, not resnet34"):
        begin(encoder="resnet34")


def test_the_start_may_be_the_name_of_a_run(monkeypatch, tmp_path):
    monkeypatch.setattr(artifacts.stages, "OUTPUTS", tmp_path)
    assert find_start(TrainingParams(start="random")) == []
    assert find_start(TrainingParams(start="weights.pth")) == []
    (tmp_path / "earlier" / "04_training").mkdir(parents=True)
    with pytest.raises(artifacts.ArtifactError, match="04_training of run 'earlier' is unfinished"):
        find_start(TrainingParams(start="earlier"))
    with pytest.raises(ValueError, match="start = 'earlier' is this run itself"):
        find_start(TrainingParams(start="earlier", run="earlier"))
