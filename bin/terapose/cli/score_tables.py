"""Scores as tables on the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from terapose.core.errors import shown

if TYPE_CHECKING:
    from terapose.apps.evaluate.cellmap import Instances, Semantic
    from terapose.apps.evaluate.evaluation import Evaluation
    from terapose.apps.evaluate.groups import Found
    from terapose.apps.evaluate.pairs import Pair
    from terapose.apps.evaluate.scores import Scores

CELLMAP = (
    *("name", "class", "kind", "true_positives", "false_positives", "false_negatives"),
    *("f1", "hausdorff", "score", "status"),
)
"""Columns of a table of the CellMap challenge."""
_PAIRS = {
    "reference": "cells",
    "average_precision_50": "AP 0.5",
    "average_precision_75": "AP 0.75",
    "mean_average_precision": "AP 0.5-0.95",
    "f1": "F1",
    "panoptic_quality": "PQ",
    "seg": "SEG",
    "boundary_f": "boundary F",
}
_NAMES = 40
_FEW = 10
"""Images below which intervals from a bootstrap are too narrow."""


def print_evaluation(found: Evaluation) -> None:
    """Print all scores of a pair."""
    scores, whole, edge = found.scores, found.agreement, found.boundary
    _print_scores(scores)
    bits = (whole.information_split, whole.information_merge)
    rows = [
        ("mean average precision, IoU 0.5 to 0.95", _number(found.mean_average_precision)),
        ("F1 (recognition quality), IoU 0.5", _number(found.as_dict()["recognition_quality"])),
        ("SEG, mean coverage", f"{_number(whole.seg)}, {_number(whole.mean_coverage)}"),
        ("split cells, merged cells", f"{whole.split}, {whole.merged}"),
        ("variation of information (split, merge), bits", ", ".join(map(_number, bits))),
        ("adapted Rand error", _number(whole.rand_error)),
        (f"boundary F, tolerance {found.settings.reach.tolerance:g} pixels", _number(edge.f)),
        ("predicted by reference size, quartiles", ", ".join(map(_number, whole.volume_ratio))),
    ]
    _table(("", "score"), rows)
    scale = found.settings.scale
    names = [_range(one.low, one.high, scale.unit_of_edges) for one in found.sizes]
    groups = dict(zip(names, (one.found for one in found.sizes), strict=True))
    _print_groups("diameter" if scale.diameter else "size", groups)
    if found.seams is not None:
        seams = {name.replace("_", " "): one for name, one in vars(found.seams).items()}
        _print_groups("seams of blocks", seams)
        _print_differences(found.seams.as_dict())


def print_summary(rows: Mapping[str, Mapping[str, float]], total: Mapping[str, Any]) -> None:
    """Print a line for each pair, and the scores of all."""
    lines = [
        (shown(name, _NAMES), *(_number(row[key]) for key in _PAIRS)) for name, row in rows.items()
    ]
    _table(("image", *_PAIRS.values()), lines)
    mean, pooled = total["mean"], total["pooled"]
    both = [
        (title, _with_interval(mean.get(key)), _with_interval(pooled.get(key)))
        for key, title in _PAIRS.items()
        if key in mean
    ]
    _table(("", "mean of images", f"all {pooled['reference']} cells together"), both)
    if total["seams"] is not None:
        _print_differences(total["seams"])
    _say(
        f"Intervals of 95 %, from {total['resamples']} draws of {total['images']} images"
        + ("." if total["images"] >= _FEW else "; with so few images they are too narrow.")
    )


def print_cellmap(
    classes: Mapping[str, Instances | Semantic], total: Mapping[str, float | None]
) -> None:
    """Print the scores of the CellMap challenge."""
    lines = []
    for name, one in classes.items():
        row = one.as_dict()
        counts = (row[key] for key in CELLMAP[3:6])
        scores = (_number(row.get(key)) for key in CELLMAP[6:9])
        lines.append((shown(name, _NAMES), row["kind"], *map(str, counts), *scores))
    _table(("class", "kind", "matched", "false", "missed", "F1", "Hausdorff", "score"), lines)
    _say(", ".join(f"{name} {_number(value)}" for name, value in total.items()))


def cellmap_rows(scores: Iterable[tuple[Pair, Instances | Semantic]]) -> list[dict[str, Any]]:
    """Rows with the columns of `CELLMAP`."""
    rows = [{"name": pair.name, "class": pair.label, **found.as_dict()} for pair, found in scores]
    return [{name: "" if row.get(name) is None else row[name] for name in CELLMAP} for row in rows]


def _print_scores(scores: Scores) -> None:
    lines = [
        (f"{row[0]:g}", *map(_number, row[1:]))
        for row in zip(
            scores.thresholds,
            scores.average_precision,
            scores.recall,
            scores.precision,
            scores.true_positives,
            scores.false_positives,
            scores.false_negatives,
            strict=True,
        )
    ]
    _table(("IoU", "AP", "recall", "precision", "matched", "false", "missed"), lines)
    _say(
        f"{scores.reference} instances in the reference, {scores.predicted} predicted; "
        f"mean IoU of matches {_number(scores.mean_iou)}, panoptic quality "
        f"{_number(scores.panoptic_quality)}"
    )


def _print_groups(title: str, groups: Mapping[str, Found]) -> None:
    lines = [
        (
            name,
            str(one.reference),
            _interval(one.recall, *one.recall_interval),
            _interval(one.average_precision, *one.average_precision_interval),
        )
        for name, one in groups.items()
    ]
    _table((title, "cells", "recall, IoU 0.5", "AP, IoU 0.5"), lines)


def _print_differences(seams: Mapping[str, Any]) -> None:
    for key, title in (
        ("difference", "At seams minus elsewhere"),
        ("difference_from_halfway", "Only seams minus only halfway"),
    ):
        recall, precision = (
            _with_interval(seams[key][score]) for score in ("recall", "average_precision")
        )
        _say(f"{title}: recall {recall}, AP {precision}")


def _range(low: float, high: float, unit: str) -> str:
    if not math.isfinite(high):
        return f"from {low:.4g} {unit}"
    return f"{low:.4g} to {high:.4g} {unit}"


def _number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _interval(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _with_interval(found: Mapping[str, float | None] | None) -> str:
    if found is None or found["value"] is None:
        return "-"
    low, high = found["low"], found["high"]
    if low is None or high is None:
        return _number(found["value"])
    return _interval(found["value"], low, high)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*header)
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)


def _say(text: str) -> None:
    from rich.console import Console

    Console().print(text, highlight=False, soft_wrap=True, markup=False)
