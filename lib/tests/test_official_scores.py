"""Our mIoU beside that of the official Cityscapes scripts, on real labels: `pip install "depth-regions[official]"`."""

import copy

import numpy as np
import pytest

from lib.data import open_dataset, read_map
from lib.data.labels import CITYSCAPES_19, CITYSCAPES_LABELS
from lib.evaluation import count_pairs, score

from .data import fixtures

official = pytest.importorskip(
    "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling",
    reason='needs the official scripts: pip install "depth-regions[official]"',
)


@pytest.mark.real_data
@pytest.mark.parametrize("absent", [False, True])
def test_19_classes_score_as_in_the_official_scripts(tmp_path, absent):
    """absent: classes that are nowhere true are predicted too; the official mean counts them as 0."""
    import cv2

    data = open_dataset(fixtures.real_params("cityscapes", (1024, 2048)))
    table = CITYSCAPES_LABELS["19"][1].table
    label_ids = np.zeros(256, np.uint8)
    for label_id, train_id in table.items():
        label_ids[train_id] = label_id if train_id != 255 else 0
    rng, confusion, truths, predictions = np.random.default_rng(0), 0, [], []
    raw = [data._files[frame.id].labels for frame in data.frames(labelled=True)]
    labels = [data.labels(frame) for frame in data.frames(labelled=True)]
    present = np.arange(19) if absent else np.setdiff1d(np.unique(labels), [255])
    for index, (path, truth) in enumerate(zip(raw, labels)):
        predicted = np.roll(truth, (7, -11), (0, 1))  # borders are wrong, and what was ignored is predicted
        wrong = rng.random(truth.shape) < 0.1
        predicted[wrong | (predicted == 255)] = rng.choice(present, truth.shape)[wrong | (predicted == 255)]
        predictions.append(str(tmp_path / f"{index}.png"))
        cv2.imwrite(predictions[-1], label_ids[predicted])
        truths.append(str(path))
        confusion = confusion + count_pairs(CITYSCAPES_19.to_index(truth), predicted, 19, 19)
        assert np.array_equal(np.unique(read_map(path)), np.unique(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))
    options = copy.copy(official.args)
    options.quiet, options.evalInstLevelScore, options.JSONOutput = True, False, False
    found = official.evaluateImgLists(predictions, truths, options)
    ours = score(confusion)
    assert ours.miou_official == pytest.approx(found["averageScoreClasses"], abs=1e-6)
    assert (ours.miou == ours.miou_official) != absent, "the samples lack some classes"
    for name, iou in zip(CITYSCAPES_19.names, ours.iou):
        theirs = found["classScores"][name]
        assert (np.isnan(iou) and (absent or np.isnan(theirs))) or iou == pytest.approx(theirs, abs=1e-6), name
