"""Scores of the CellMap segmentation challenge: of instances and of semantic classes.

Instances, as the code of the challenge has it:

1. Predicted instances are the connected pieces of the predicted labels (26 neighbours); reference
   labels are taken as they are. With far more pieces than reference instances (`cutoff`) a crop is
   skipped, and counts for nothing.
2. Pieces and reference instances are assigned one to one, so that the sum of IoU is largest. Every
   overlap counts, there is no threshold.
3. Each assigned pair has the Hausdorff distance of both, at most half the shortest side of the
   image. A reference instance that is missed, and a piece too many, have that largest distance.
4. A distance d becomes 1.01 to the power of -d / |voxel size|.

Of all crops of a class, F1 of the counts and the mean of 4 are combined as their geometric mean. A
semantic class is scored by the IoU of all voxels that are not background.

Both images are read slab by slab, twice (`components`), and for distances the box of each pair. In
memory are a slab, the largest box of a pair (about 40 bytes a voxel), and tables of instances.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from terapose.apps.evaluate.components import components_of, pieces_of
from terapose.apps.evaluate.counts import (
    BLOCK,
    Boxes,
    Overlap,
    Pairs,
    Whole,
    check_labels,
    corners,
    count,
    regions,
    runs,
    smallest,
)
from terapose.apps.evaluate.numbers import plain, ratio
from terapose.core.errors import InputError
from terapose.io.images.array_like import Voxels

Size = tuple[float, float, float]
Progress = Callable[[int, int], None]
SKIPPED, SCORED = "skipped_too_many_instances", "scored"
_SCALE = 1_000_000
"""Of costs, which are whole numbers."""
_BASE = 1.01


@dataclass(frozen=True)
class Instances:
    """Score of one crop of an instance class, before classes are pooled.

    Attributes
    ----------
    true_positives, false_positives, false_negatives
        Assigned pairs, pieces too many, and reference instances that were missed.
    distances
        Sum of the normalised Hausdorff distances.
    count
        How many these are.
    status
        "scored", or "skipped_too_many_instances".
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    distances: float
    count: int
    status: str = SCORED

    def __add__(self, other: Instances) -> Instances:
        """Both crops together."""
        return Instances(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
            self.distances + other.distances,
            self.count + other.count,
            SCORED if SCORED in (self.status, other.status) else self.status,
        )

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN)."""
        true = 2 * self.true_positives
        return ratio(true, true + self.false_positives + self.false_negatives)

    @property
    def hausdorff(self) -> float:
        """Mean normalised Hausdorff distance: 1 where all instances are the same."""
        return ratio(self.distances, self.count)

    @property
    def score(self) -> float:
        """Geometric mean of both."""
        return math.sqrt(self.f1 * self.hausdorff)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        scores = {"f1": self.f1, "hausdorff": self.hausdorff, "score": self.score}
        found: dict[str, Any] = plain({"kind": "instance", **vars(self), **scores})
        return found


@dataclass(frozen=True)
class Semantic:
    """Voxels of one crop of a semantic class: in both images, in one, in the other."""

    true_positives: int
    false_positives: int
    false_negatives: int

    def __add__(self, other: Semantic) -> Semantic:
        """Both crops together."""
        return Semantic(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
        )

    @property
    def score(self) -> float:
        """IoU; 1 if there is nothing in either image."""
        union = self.true_positives + self.false_positives + self.false_negatives
        return self.true_positives / union if union else 1.0

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return {"kind": "semantic", **vars(self), "score": self.score}


def overall(instances: Sequence[float], semantic: Sequence[float]) -> float:
    """The geometric mean of both means of classes; NaN without classes of one kind.

    Parameters
    ----------
    instances, semantic
        Score of each class; NaN, of a class of which there is nothing, is left out.
    """
    return math.sqrt(_mean(instances) * _mean(semantic))


def pooled(
    found: Sequence[tuple[str, Instances | Semantic]],
) -> tuple[dict[str, Instances | Semantic], dict[str, float | None]]:
    """Pool the crops of each class, and combine the classes.

    Parameters
    ----------
    found
        Class and score of each crop.

    Returns
    -------
    classes : dict
        Pooled score of each class.
    total : dict
        Mean ``instance`` and ``semantic`` score of classes, and ``overall``; None where there is
        none.

    Raises
    ------
    InputError
        If a class is of both kinds.
    """
    instances: dict[str, Instances] = {}
    semantic: dict[str, Semantic] = {}
    for name, score in found:
        if isinstance(score, Instances):
            instances[name] = instances[name] + score if name in instances else score
        else:
            semantic[name] = semantic[name] + score if name in semantic else score
    both = sorted(set(instances) & set(semantic))
    if both:
        raise InputError(
            "a class is of one kind", where=both[0] or "class", got="instance and semantic"
        )
    kinds = [[one.score for one in some.values()] for some in (instances, semantic)]
    total = {
        "instance": _mean(kinds[0]),
        "semantic": _mean(kinds[1]),
        "overall": overall(*kinds),
    }
    return {**instances, **semantic}, plain(total)


def cutoff(reference: int) -> float:
    """Predicted by reference instances above which a crop is skipped."""
    return 10 + 50 * math.exp(-reference / 5)


def score_semantic(
    reference: Voxels,
    predicted: Voxels,
    block: tuple[int, int, int] = BLOCK,
    *,
    progress: Progress | None = None,
) -> Semantic:
    """Score a semantic class, block by block.

    Parameters
    ----------
    reference, predicted
        (Z, Y, X) of one shape; all that is not 0 belongs to the class.
    block
        Voxels that are read at once.
    progress
        Called with the number of blocks done and of all.
    """
    check_labels(reference, predicted)
    both = mine = theirs = 0
    for done, region in enumerate(regions(reference.shape, block), 1):
        a, b = np.asarray(reference[region]) != 0, np.asarray(predicted[region]) != 0
        both += int(np.count_nonzero(a & b))
        mine += int(np.count_nonzero(a))
        theirs += int(np.count_nonzero(b))
        if progress is not None:
            progress(done, count(reference.shape, block))
    return Semantic(both, theirs - both, mine - both)


def score_instances(
    reference: Voxels,
    predicted: Voxels,
    voxel_size: Size,
    slab: int | None = None,
    *,
    progress: Progress | None = None,
) -> Instances:
    """Score an instance class.

    Parameters
    ----------
    reference, predicted
        (Z, Y, X) label images of one shape.
    voxel_size
        (z, y, x) in any unit.
    slab
        Planes that are read at once; the score does not depend on it.
    progress
        Called with the number of instances done and of all.

    Returns
    -------
    Instances
    """
    check_labels(reference, predicted)
    pieces = _Pieces(reference, predicted, slab)
    overlap = pieces.overlap
    n_reference, n_predicted = len(overlap.reference), len(overlap.predicted)
    if n_reference and n_predicted / n_reference > cutoff(n_reference):
        return Instances(0, 0, 0, 0.0, 0, SKIPPED)
    pairs = assigned(overlap)
    sides = (step * length for step, length in zip(voxel_size, reference.shape, strict=True))
    most = min(sides) / 2
    unmatched = n_reference + n_predicted - 2 * len(pairs)
    distances = [most] * unmatched
    for done, pair in enumerate(pairs, 1):
        distances.append(min(pieces.distance(int(pair), voxel_size), most))
        if progress is not None:
            progress(done, len(pairs))
    length = math.hypot(*voxel_size)
    return Instances(
        len(pairs),
        n_predicted - len(pairs),
        n_reference - len(pairs),
        math.fsum(_BASE ** (-distance / length) for distance in distances),
        len(distances),
    )


def assigned(overlap: Overlap) -> Whole:
    """Pairs of the one-to-one assignment with the largest sum of IoU.

    Costs are whole numbers, as in the challenge: a pair costs (1 - IoU) times a million, and an
    instance without one, one more than a million.

    Parameters
    ----------
    overlap
        Instances and pairs.

    Returns
    -------
    numpy.ndarray
        Positions in the list of pairs.
    """
    if not len(overlap.row):
        return np.empty(0, np.int64)
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    rows, columns = len(overlap.reference), len(overlap.predicted)
    iou = overlap.iou.astype(np.float32).astype(np.float64)
    cost = ((1 - iou) * _SCALE).astype(np.int64)
    # each instance may also have a partner of its own, which means none. One more for every pair
    # of the same instance changes nothing, and a sparse matrix takes a cost of 0 for no pair.
    alone = np.arange(rows)
    graph = csr_matrix(
        (
            np.concatenate([cost, np.full(rows, _SCALE + 1)]) + 1,
            (
                np.concatenate([overlap.row, alone]),
                np.concatenate([overlap.column, columns + alone]),
            ),
        ),
        shape=(rows, columns + rows),
    )
    instance, partner = min_weight_full_bipartite_matching(graph)
    chosen = np.full(rows, -1)
    chosen[instance] = partner
    found: Whole = np.flatnonzero(chosen[overlap.row] == overlap.column)
    return found


def _mean(scores: Sequence[float]) -> float:
    known = [score for score in scores if math.isfinite(score)]
    return ratio(math.fsum(known), len(known))


class _Pieces:
    """Reference instances and predicted pieces, their boxes, and a voxel of each piece."""

    def __init__(self, reference: Voxels, predicted: Voxels, slab: int | None) -> None:
        self._reference, self._predicted = reference, predicted
        pairs, boxes, firsts = Pairs(), (Boxes(), Boxes()), []
        for region, pieces in components_of(predicted, slab).read():
            found = runs(np.asarray(reference[region]), pieces)
            pairs.add(found.reference, found.predicted, found.voxels)
            starts, stops = corners(found, region)
            boxes[0].add(found.reference, starts, stops)
            boxes[1].add(found.predicted, starts, stops)
            place = np.ravel_multi_index(tuple(starts.T), tuple(reference.shape))
            firsts.append(smallest(found.predicted, place[:, None]))
        self.overlap = pairs.overlap()
        self._boxes = (boxes[0].of(self.overlap.reference), boxes[1].of(self.overlap.predicted))
        numbers, places = smallest(
            *(np.concatenate(column) for column in zip(*firsts, strict=True))
        )
        self._first = places[np.searchsorted(numbers, self.overlap.predicted), 0]

    def distance(self, pair: int, voxel_size: Size) -> float:
        """Hausdorff distance of the two instances of a pair."""
        from scipy.ndimage import distance_transform_edt

        row, column = self.overlap.row[pair], self.overlap.column[pair]
        low = np.minimum(self._boxes[0][0][row], self._boxes[1][0][column])
        high = np.maximum(self._boxes[0][1][row], self._boxes[1][1][column])
        box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        one = np.asarray(self._reference[box]) == self.overlap.reference[row]
        # other pieces may have the same label; a piece is whole in its box
        labels = np.asarray(self._predicted[box])
        at = np.unravel_index(int(self._first[column]), tuple(self._predicted.shape))
        inside = tuple(int(n - a) for n, a in zip(at, low, strict=True))
        pieces, _ = pieces_of(labels == labels[inside])
        other = pieces == pieces[inside]
        directed = [
            distance_transform_edt(~to, sampling=voxel_size)[of].max()
            for of, to in ((one, other), (other, one))
        ]
        return float(max(directed))
