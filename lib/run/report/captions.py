"""What the numbers of metrics.json mean and what the pictures of the stages show, in words."""

from collections.abc import Mapping
from typing import Any

MEANING = {
    "abs_rel": "depth: mean of |error| / true depth; smaller is better",
    "sq_rel": "depth: mean of squared error / true depth, in metres; smaller is better",
    "rmse": "depth: root mean square error, in metres; smaller is better",
    "rmse_log": "depth: root mean square error of the logarithm; smaller is better",
    "delta1": "depth: share of pixels within a factor 1.25 of the truth; larger is better",
    "delta2": "depth: share of pixels within a factor 1.25² of the truth",
    "delta3": "depth: share of pixels within a factor 1.25³ of the truth",
    "abs_rel_moving": "abs_rel of what moves by itself",
    "abs_rel_still": "abs_rel of what stands still",
    "train_seconds": "seconds of training",
    "purity": "share of pixels whose class is the commonest of their region; larger is better",
    "asa": "purity where two things of one class count as different",
    "boundary_recall": "share of true border pixels with a region's border beside them; larger is better",
    "under_segmentation": "how much regions leak over true borders; smaller is better",
    "regions_per_frame": "regions in a frame, mean",
    "slic_purity": "purity of plain superpixels (SLIC), as many in each frame",
    "grid_purity": "purity of a grid, as many cells in each frame",
    "seconds_per_frame": "seconds to group one frame",
    "correspondence_errors": "positives that show another point than their group; must be 0",
    "pasted_fraction": "share of a composite that was pasted from elsewhere",
    "images_per_second": "images a second",
    "loss": "contrastive loss, mean of the last steps; compares nothing but runs of one setting",
    "prototypes_used": "prototypes that are nearest to some sample",
    "effective_rank": "directions in which the embeddings spread, 1 = all on one line",
    "miou": "mean IoU over the classes, one cluster a class; larger is better",
    "accuracy": "share of pixels with the right class, one cluster a class",
    "miou_greedy": "mean IoU where every prototype takes the class it mostly meets: what the features hold",
    "accuracy_greedy": "share of pixels with the right class, every prototype named",
    "miou_by_members": "mean IoU when the mean embeddings of the prototypes' members are merged in their place",
    "miou_by_count": "mean IoU when clusters are named by the number of right pixels, as PiCIE and STEGO do",
    "accuracy_by_count": "share of pixels with the right class, named like that",
    "miou_random_weights": "mean IoU of the same network before its first step of training",
    "miou_color_position": "mean IoU of k-means on colour and position: what costs nothing",
    "miou_ceiling": "mean IoU of the same network trained with labels",
    "miou_normalized": "place of miou between colour and position (0) and the network trained with labels (1)",
}
FAMILIES = {
    "iou_": "IoU of {}",
    "abs_rel_": "abs_rel of {}",
    "slic_": "{}, of plain superpixels",
    "grid_": "{}, of a grid",
}
INTERVAL = "mIoU {miou} (95 % interval {miou_low} to {miou_high})"
FIGURES = {
    "05_evaluation/overview.png": (
        "The whole chain, a frame a row.",
        "Two frames, one a row, and what each notebook made of them: {columns}; below, the names of the class colours. "
        f"Over all scored frames: {INTERVAL}.",
    ),
    "05_evaluation/scores.png": (
        "The scores, and what they are compared with.",
        f"Bars of mIoU and accuracy by method. One cluster a class: {INTERVAL}; greedy, every prototype named: "
        "mIoU {miou_greedy}; colour and position: {miou_color_position}; random weights: {miou_random_weights}; "
        "trained with labels: {miou_ceiling}.",
    ),
    "05_evaluation/features.png": (
        "What the features see: similar colour means similar embedding.",
        "Three frames in the first row; in the second the three directions in which their embeddings vary most, as "
        "red, green and blue; a third row, where there is one, shows the same for a training without a single paste.",
    ),
    "05_evaluation/predictions.png": (
        "Predictions beside the truth.",
        "Frames in the first row, their segmentation in the second, the truth in the third, in the colours of the "
        f"classes; black is no class. Over all scored frames: {INTERVAL}.",
    ),
    "05_evaluation/classes.png": (
        "Class by class.",
        "Left, bars of the IoU of each class for ours, colour and position, and random weights; ours is best for "
        "{best} and worst for {worst}. Right, a matrix of where the pixels of each class went.",
    ),
    "04_training/curves.png": (
        "The training of the features, step by step.",
        "Four curves over the steps of the training: loss, ends at {loss}; prototypes in use, ends at "
        "{prototypes_used}; entropy of the codes; effective rank of the embeddings, ends at {effective_rank}.",
    ),
    "04_training/moments.png": (
        "One frame at three moments of the training.",
        "One frame and, before, halfway through and after the training, the main directions of its embeddings as "
        "colours in the upper row and its nearest prototypes in random colours in the lower row.",
    ),
}
"""Stage/file -> caption and alt text, in the order of the page; {names} are filled in from metrics.json."""


class _Numbers(dict):
    def __missing__(self, name: str) -> str:
        return "not measured"


def show_number(value: Any) -> str:
    """A number as a reader wants it: three decimals, or four digits."""
    if value is None:
        return "not measured"
    if float(value).is_integer():
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{value:.3f}" if abs(value) >= 0.001 else f"{value:.2g}"


def explain(name: str) -> str:
    """What a number of metrics.json means; empty where that is not known."""
    for begin, words in FAMILIES.items():
        if name not in MEANING and name.startswith(begin):
            return words.format(name.removeprefix(begin).replace("_", " "))
    return MEANING.get(name, "")


def caption(stage: str, file: str, metrics: Mapping[str, Any], generated: bool) -> tuple[str, str]:
    """Caption and alt text of a stage's picture.

    Args:
        generated: streets of our own? On real video the overview leaves photographs out.
    """
    short, alt = FIGURES.get(f"{stage}/{file}", (f"{file.rpartition('.')[0].replace('_', ' ')}.", ""))
    if not alt:
        return short, f"Picture {file} of {stage}; what it shows is said in the notebook of that stage."
    numbers = {k: show_number(v) for k, v in metrics.items() if isinstance(v, int | float)}
    classes = {k.removeprefix("iou_"): v for k, v in metrics.items() if k.startswith("iou_") and v is not None}
    for name, choose in (("best", max), ("worst", min)):
        if classes:
            found = choose(classes, key=classes.get)
            numbers[name] = f"{found.replace('_', ' ')} ({show_number(classes[found])})"
    columns = "depth, regions and segmentation"
    if generated:
        columns = "the frame, depth, regions, a composite, the segmentation and the truth"
    return short, alt.format_map(_Numbers(numbers, columns=columns))
