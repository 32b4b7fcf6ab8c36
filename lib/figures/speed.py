"""Pictures of notebook 10: where the time goes."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from . import WIDTH, new_figure

COLORS = ("#31688e", "#9ecae1", "#35b779", "#c7e9c0", "#fdae61", "#e31a1c", "#999999")


def draw_steps(profiles: Mapping[str, Mapping[str, float]]) -> Figure:
    """One bar a way, made of its steps.

    Args:
        profiles: name of a way -> step -> milliseconds.
    """
    figure = new_figure(WIDTH, 0.9 + 0.45 * len(profiles))
    axes = figure.subplots()
    names, left = list(profiles), [0.0] * len(profiles)
    for step, color in zip(next(iter(profiles.values())), COLORS, strict=True):
        widths = [profiles[name][step] for name in names]
        axes.barh(names, widths, left=left, color=color, label=step)
        left = [a + b for a, b in zip(left, widths)]
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds of one core, a frame")
    axes.legend(fontsize=8, ncols=2)
    return figure
