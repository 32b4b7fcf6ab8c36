"""Mask R-CNN on the pre-trained backbone: what it takes over, that it learns, and that it does so twice alike."""

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.models.detection.roi_heads import project_masks_on_boxes

from lib.data import Frame, open_dataset
from lib.data.labels import CAMVID_11, STREET, ClassSet
from lib.evaluation.instances import (
    Instances,
    average_precision,
    find_instances,
    find_things,
    match_instances,
    read_truth,
)
from lib.figures.instances import draw_instances
from lib.finetuning import (
    Trial,
    describe_instances,
    labelled,
    read_lesson,
    read_truths,
    run_instance_trial,
    smallest_thing,
    summarise_instances,
)
from lib.finetuning.instance_trials import TRAINED_BY as INSTANCES_TRAINED_BY
from lib.finetuning.instance_trials import InstanceOutcome, make_instance_task
from lib.finetuning.instances import (
    AlignedPool,
    InstanceNetwork,
    InstanceSampler,
    InstanceTask,
    gather_instances,
    paste_masks,
    prepare_images,
)
from lib.finetuning.instances import _make_targets as make_targets
from lib.finetuning.trials import TRAINED_BY, identify
from lib.networks import Embedder, seed_weights
from lib.params import DepthParams, FinetuningParams
from lib.training import hash_tensors, train

THINGS = find_things(STREET)
PLAIN = {"learning_rate": 0.01, "key": {}, "device": torch.device("cpu"), "reports": 0, "precision": "float32"}


@pytest.fixture(autouse=True)
def one_thread():
    """Many small operations gain little from a second core, and wait long for one that is shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def street():
    data = open_dataset(DepthParams(train_clips=2, frames_per_clip=3, val_clips=1, scored_frames_per_clip=2))
    frames = data.frames("train")
    return data, frames, *gather_instances(data, frames, 24)


def make_task(street, embedder=None, batch=2, chosen=None):
    sampler = InstanceSampler(*street[2:], batch, 0, chosen)
    return InstanceTask(THINGS, sampler, 64, "resnet18", embedder)


def make_embedder():
    with seed_weights(3):
        return Embedder("resnet18", 16).eval()


def test_layers_of_the_embedder_are_taken_over():
    embedder = make_embedder()
    task = InstanceTask(THINGS, None, 64, "resnet18", embedder)
    network, head = task.networks["network"].eval(), embedder.head
    state = network.state_dict()
    for name, value in embedder.backbone.state_dict().items():
        assert torch.equal(state[f"backbone.{name}"], value)
    images = torch.randint(0, 256, (1, 64, 128, 3), dtype=torch.uint8)
    with torch.no_grad():
        features = embedder.backbone(prepare_images(images))
        levels = [lateral(feature) for lateral, feature in zip(head.lateral, features)]
        for fine in (2, 1, 0):
            levels[fine] = levels[fine] + levels[fine + 1].repeat_interleave(2, 2).repeat_interleave(2, 3)
        found = network.pyramid({str(level): x for level, x in enumerate(network.backbone(prepare_images(images)))})
        for smooth, level, ours in zip(head.smooth, levels, found.values()):
            torch.testing.assert_close(ours, smooth(level))
    assert set(task.transferred) | set(task.fresh) == set(state)
    assert not set(task.transferred) & set(task.fresh)
    assert {name.split(".")[0] for name in task.fresh} == {"rpn", "roi_heads"}
    assert str(task.transfer).startswith("own gives backbone, pyramid: ")
    assert task.transfer.values + task.transfer.new_values == sum(p.numel() for p in network.parameters())
    assert {"backbone.layer4", "pyramid.inner_blocks"} <= set(task.transfer.layers)
    plain = InstanceTask(THINGS, None, 64, "resnet18")
    assert plain.transferred == ()
    assert len(plain.fresh) == len(state)
    with pytest.raises(ValueError, match="has a resnet18, not resnet34"):
        InstanceTask(THINGS, None, 64, "resnet34", embedder)


def test_a_batch_is_a_function_of_the_step_and_boxes_hold_their_things(street):
    sampler = make_task(street, batch=6).sample
    batch = sampler(3)
    assert all(torch.equal(a, b) for a, b in zip(batch.values(), sampler(3).values()))
    assert not torch.equal(batch["images"], sampler(4)["images"])
    for regions, boxes, classes in zip(batch["regions"], batch["boxes"], batch["classes"]):
        assert regions.max() == (classes > 0).sum() > 0
        for number, (left, top, right, bottom) in enumerate(boxes[classes > 0].int().tolist(), 1):
            inside = (regions == number)[top:bottom, left:right]
            assert inside.sum() == (regions == number).sum() >= 24
            assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1])), "it is tight"
    lazy = InstanceSampler(*street[2:], 6, 0, np.arange(6))(3)
    assert torch.equal(lazy["regions"], batch["regions"])


def test_frames_that_are_read_when_asked_for(street, monkeypatch):
    data, frames, images, codes = street
    monkeypatch.setattr(labelled, "IN_MEMORY", 1)
    lazy = gather_instances(data, frames, 24)
    np.testing.assert_array_equal(lazy[0][np.array([1, 4])], images[[1, 4]])
    np.testing.assert_array_equal(lazy[1][np.array([1, 4])], codes[[1, 4]])


def test_masks_cut_and_pasted_are_the_masks(street):
    batch = make_task(street, batch=6).sample(0)
    for target, regions in zip(make_targets(batch), batch["regions"]):
        count = len(target["labels"])
        cut = project_masks_on_boxes(target["masks"], target["boxes"], torch.arange(count), 28)
        true = regions == torch.arange(1, count + 1)[:, None, None]
        pasted = paste_masks(cut, target["boxes"], (64, 128))
        iou = (pasted & true).sum((1, 2)) / (pasted | true).sum((1, 2))
        assert iou.min() > 0.7
        assert iou.mean() > 0.9
        twice = paste_masks(cut, target["boxes"] * 2, (128, 256))
        shift = (twice.float().mean((1, 2)) - true.float().mean((1, 2))).abs()
        assert (shift < 0.1 * true.float().mean((1, 2))).all(), "at another size it is as large a share"


def test_features_are_read_where_boxes_are():
    """Levels that hold their own coordinates give back the centre of each box."""
    features = {}
    for index, stride in enumerate((4, 8, 16, 32)):
        rows, columns = (torch.arange(side // stride) * stride + stride / 2 for side in (256, 512))
        features[str(index)] = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None]
    boxes = torch.tensor([[100.0, 60, 120, 90], [64, 64, 224, 200], [40.0, 30, 330, 230]])
    found = AlignedPool(7)(features, [boxes], [(256, 512)])
    torch.testing.assert_close(found.mean((2, 3))[:, 1], (boxes[:, 0] + boxes[:, 2]) / 2)
    torch.testing.assert_close(found.mean((2, 3))[:, 0], (boxes[:, 1] + boxes[:, 3]) / 2)


def test_it_learns_a_few_street_frames(street, tmp_path):
    data, frames = street[:2]
    task = make_task(street, make_embedder(), batch=2, chosen=np.array([0, 3]))
    history = train(task, tmp_path, **PLAIN | {"steps": 24, "learning_rate": 0.02, "warmup_steps": 5})
    losses = history.columns["loss"]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:3])
    assert set(history.columns) >= {"objectness", "rpn_box_reg", "classifier", "box_reg", "mask"}
    assert history.columns["mask"][-1] < history.columns["mask"][0]
    truths = [read_truth(data, frame, THINGS) for frame in frames[:2]]
    records = task.match(street[2][:2], truths, 24)
    assert len(records) == 2
    assert 0 <= average_precision(records, THINGS).ap <= 1


def test_a_resumed_training_is_the_same(street, tmp_path):
    ends = []
    for name, stops in (("once", (4,)), ("resumed", (2, 4))):
        for steps in stops:
            torch.rand(steps)  # whatever else draws from torch's generator does not matter
            task = make_task(street)
            settings = PLAIN | {"steps": steps, "precision": "bfloat16", "final_learning_rate": 0.01}
            before = torch.random.get_rng_state()
            train(task, tmp_path / name, **settings)
            assert torch.equal(torch.random.get_rng_state(), before), "torch's own generator goes on undisturbed"
        ends.append(hash_tensors(task.networks.state_dict()))
    assert ends[0] == ends[1]


def test_images_without_a_thing(street):
    codes = np.zeros_like(street[3])
    task = InstanceTask(THINGS, InstanceSampler(street[2], codes, 2, 0), 64, "resnet18")
    loss, parts = task.loss(task.sample(0), 0)
    loss.backward()
    assert torch.isfinite(loss)
    assert float(parts["mask"]) == 0
    codes[:3] = street[3][:3]
    mixed = InstanceSampler(street[2], codes, 6, 0)
    counts = (mixed(0)["classes"] > 0).sum(dim=1)
    assert counts.min() == 0 < counts.max()
    loss, parts = task.loss(mixed(0), 0)
    assert torch.isfinite(loss)
    assert float(parts["mask"]) > 0


def test_predictions_have_the_shapes_that_were_asked_for(street):
    task = make_task(street)
    found = task.predict(street[2][:3])
    larger = task.predict(street[2][:3], (128, 256))
    assert len(found) == len(larger) == 3
    for one, other in zip(found, larger):
        assert one.masks.shape == (len(one), 64, 128)
        assert other.masks.shape == (len(one), 128, 256)
        assert one.masks.dtype == bool
        assert len(one) <= 100
        assert set(one.classes) <= {0, 1}
        assert ((one.scores > 0) & (one.scores <= 1)).all()
    assert task.networks.training
    with pytest.raises(ValueError, match="multiples of 32"):
        task.predict(np.zeros((1, 60, 128, 3), np.uint8))


@pytest.mark.parametrize(("rows", "smallest"), [(64, 5.3), (96, 8.0), (384, 32.0)])
def test_anchors_go_down_with_the_image(rows, smallest):
    network = InstanceNetwork("resnet18", 2, rows)
    sizes = network.rpn.anchor_generator.sizes
    assert sizes[0][0] == pytest.approx(smallest, abs=0.05)
    assert [pair[0] / sizes[0][0] for pair in sizes] == pytest.approx([1, 2, 4, 8])


def test_data_without_things_is_refused(street):
    labels = np.zeros((32, 32), np.uint8)
    plain = SimpleNamespace(
        name="camvid", classes=CAMVID_11, labels=lambda _: labels, instances=lambda _: None, size=(32, 32)
    )
    with pytest.raises(ValueError, match="camvid does not tell one thing from the next"):
        gather_instances(plain, [Frame("a", "a", "train")])
    plain.classes = ClassSet("ground", ("road",), (0,), ((0, 0, 0),))
    with pytest.raises(ValueError, match="ground has none of the classes person"):
        gather_instances(plain, [Frame("a", "a", "train")])
    with pytest.raises(ValueError, match="no labelled frames"):
        gather_instances(street[0], [])


def test_truth_of_generated_streets_scores_itself_fully(street):
    data, frames = street[:2]
    truths = [read_truth(data, frame, THINGS) for frame in frames]
    records = [match_instances(truth, truth.to_instances(), 24) for truth in truths]
    assert average_precision(records, THINGS).ap == 1


def test_the_picture_is_drawn(street):
    data, frames, images, _ = street
    truths = [read_truth(data, frame, THINGS) for frame in frames[:2]]
    nothing = Instances(np.zeros((0, 64, 128), bool), np.zeros(0, int), np.zeros(0, np.float32))
    empty = find_instances(np.full((64, 128), 255, np.uint8), np.zeros((64, 128), np.uint16), THINGS)
    figure = draw_instances(images[:3], [*truths, empty], [truths[0].to_instances(), nothing, nothing], THINGS)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    assert 1000 < len(buffer.getvalue()) < 150_000
    assert any(text.get_text() == "car 1.00" for text in figure.axes[6].texts)


def test_what_a_file_hands_over_is_listed(tmp_path):
    params = DepthParams(train_clips=1, frames_per_clip=3, val_clips=1, scored_frames_per_clip=1)
    lesson, path = read_lesson(params, params, "val"), tmp_path / "other.pth"
    torch.save(Embedder("resnet18", 8).backbone.state_dict(), path)
    task = make_instance_task(Trial(str(path), 1.0, 0), lesson, FinetuningParams(batch=2), "resnet18", None)
    assert str(task.transfer).startswith("other.pth gives backbone: ")
    assert task.transfer.layers == tuple(f"backbone.{n}" for n in ("conv1", "bn1", *(f"layer{i}" for i in range(1, 5))))
    assert {name.split(".")[0] for name in task.fresh} == {"backbone", "pyramid", "rpn", "roi_heads"}
    assert all(name.endswith("tracked") for name in task.fresh if name.startswith("backbone"))


def test_folds_are_blocks_with_a_mean_of_their_own():
    """Of two folds with a mean each, the standard error is that of the mean of two means."""
    rng, found = np.random.default_rng(0), {}
    parts = rng.normal(0.5, 0.1, (2, 30))
    for fold, values in enumerate(parts):
        left_out = np.repeat(((values.sum() - values) / 29)[:, None], 2, axis=1)
        mean, names = values.mean(), np.array([f"{fold} {part:02d}" for part in range(30)])
        found[Trial("own", 1.0, 0, fold)] = InstanceOutcome(mean, mean, np.array([mean]), left_out, names, [], None)
    (row,) = summarise_instances(found)
    expected = np.sqrt(sum(values.var(ddof=1) / 30 for values in parts)) / 2
    assert row["ap"].error == pytest.approx(expected, rel=0.02)
    assert row["by_class"] == [pytest.approx(parts.mean())]


def test_a_block_of_several_folds_is_left_out_of_all():
    """Frames of one drive in each fold: what is left out is the drive, and the standard error that of drives' means."""
    rng, found, names = np.random.default_rng(1), {}, np.array([f"drive {i:02d}" for i in range(12)])
    parts = rng.normal(0.5, 0.1, 12) + rng.normal(0, 0.02, (5, 12))
    for fold, values in enumerate(parts):
        left_out = np.repeat(((values.sum() - values) / 11)[:, None], 2, axis=1)
        mean = values.mean()
        found[Trial("own", 1.0, 0, fold)] = InstanceOutcome(mean, mean, np.array([mean]), left_out, names, [], None)
    (row,) = summarise_instances(found)
    assert row["ap"].blocks == 12
    assert row["ap"].error == pytest.approx(np.sqrt(parts.mean(axis=0).var(ddof=1) / 12))


def test_trainings_of_things_are_kept_and_compared(tmp_path, monkeypatch):
    params = DepthParams(train_clips=1, frames_per_clip=3, val_clips=2, scored_frames_per_clip=1)
    lesson, values = read_lesson(params, params, "val"), FinetuningParams(instance_steps=1, batch=2, warmup_steps=0)
    own = SimpleNamespace(params=SimpleNamespace(encoder="resnet18"))
    truths, folder = read_truths(lesson), tmp_path / "kept"
    trials = [Trial("random", 1.0, seed, fold) for fold in (0, 1) for seed in (0, 1)]
    outcomes = {t: run_instance_trial(t, lesson, truths, values, own, folder, {}) for t in trials}
    first = outcomes[trials[0]]
    assert first.left_out.shape == (2, 2)
    assert [found.masks.shape[1:] for found in first.shown] == [(64, 128)] * 2
    assert first.by_class.shape == (2,)
    (row,) = summarise_instances(outcomes)
    assert (row["ap"].seeds, row["ap"].blocks) == (2, 2), "both folds have the same"
    assert row["ap50"].value == pytest.approx(np.mean([o.ap50 for o in outcomes.values()]))
    assert "AP50" in describe_instances([row])
    assert (smallest_thing((1024, 2048)), smallest_thing((384, 768)), smallest_thing((64, 128))) == (100, 14, 8)

    same = Trial("random", 1.0, 0), replace(values, steps=1), "resnet18", {}, None
    names = {identify(*same, modules) for modules in (TRAINED_BY, INSTANCES_TRAINED_BY)}
    assert len(names) == 2, "a training of classes with the same numbers is another one"

    def refuse(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr("lib.finetuning.instance_trials.train", refuse)
    again = run_instance_trial(trials[0], lesson, truths, values, own, folder, {})
    np.testing.assert_array_equal(again.shown[0].masks, first.shown[0].masks)
    with pytest.raises(AssertionError, match="trained again"):
        run_instance_trial(trials[0], lesson, truths, replace(values, instance_steps=2), own, folder, {})
