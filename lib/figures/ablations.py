"""Pictures of notebook 09: what each change brings."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..ablations import correct_rows, tell_verdict
from . import new_figure

COLORS = {"shown": "#0072b2", "reversed": "#d55e00", "not shown": "#777777", "not decided": "#777777"}
TITLES = {"finetuned": "fine-tuned with few labels", "clusters": "clusters, one to one", "greedy": "greedy"}


def draw_effects(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """mIoU of each setting minus that of the base, with 95 % intervals; grey = what would not be shown.

    A ring is a difference that does not stand beside all others (Holm); small strokes are the runs, where several.

    Args:
        rows: of `ablations.summarise`, or what a record kept of it.
    """
    base, varied = rows[0], [row for row in rows[1:] if row["minus_base"]]
    figure = new_figure(width=9, height=0.32 * len(varied) + 1.7)
    panels, corrected, rings = figure.subplots(1, len(TITLES), sharey=True), correct_rows(rows), 0
    for axes, (score, title) in zip(panels, TITLES.items()):
        axes.axvline(0, color="k", lw=0.8)
        for place, row in enumerate(varied):
            if score not in row["minus_base"]:
                continue
            found = row["minus_base"][score]
            if found["smallest"] is not None:
                reach = (-found["smallest"], found["smallest"])
                axes.plot(reach, (place, place), color="#e2e2e2", lw=9, solid_capstyle="butt", zorder=0)
            if found["low"] is not None:
                axes.plot((found["low"], found["high"]), (place, place), color=COLORS[found["verdict"]], lw=1.8)
            ring = corrected.get((row["setting"], score), found["verdict"]) != found["verdict"]
            rings += ring
            axes.plot(found["value"], place, "o", mec="k", mfc="w" if ring else "k", ms=4)
            for each in found.get("by_run", ()):
                axes.plot(each, place, "|", color="k", ms=7, mew=0.8)
        axes.set_title(f"{title}\nbase {base[score]['value']:.3f}", fontsize=9)
        axes.set_xlabel("mIoU minus the base's", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.locator_params(axis="x", nbins=5)
    differences = [found for row in varied for found in row["minus_base"].values()]
    verdicts = [v for v in COLORS if any(found["verdict"] == v for found in differences)]
    handles = [Line2D([], [], color=COLORS[v], lw=1.8, label=tell_verdict({"verdict": v})) for v in verdicts]
    if any(found["smallest"] for found in differences):
        handles.append(Line2D([], [], color="#e2e2e2", lw=7, label="shown less than four times in five"))
    if rings:
        handles.append(Line2D([], [], marker="o", ls="", mec="k", mfc="w", ms=4, label="not beside all others (Holm)"))
    if any("by_run" in found for found in differences):
        handles.append(Line2D([], [], marker="|", ls="", color="k", ms=7, label="each run"))
    figure.legend(handles=handles, fontsize=8, loc="outside lower center", ncols=4, frameon=False)
    panels[0].set_yticks(range(len(varied)), [row["setting"] for row in varied], fontsize=8)
    panels[0].set_ylim(len(varied) - 0.5, -0.5)
    return figure
