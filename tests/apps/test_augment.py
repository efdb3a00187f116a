"""Faults of crops, each for certain, and which held-out images are scored."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from tests.apps.test_train_recipe import item

from terapose.apps.train import augment
from terapose.apps.train.score import sample


class Certain(np.random.Generator):
    """What occurs by chance does, but for the first ones if they are not to."""

    def __init__(self, seed: int, *first: bool) -> None:
        super().__init__(np.random.PCG64(seed))
        self._first = [*first]

    def random(self, *size: int) -> Any:  # type: ignore[override]
        if size:
            return super().random(*size)
        return 0.0 if not self._first or self._first.pop(0) else 0.99


@pytest.mark.parametrize("seed", range(5))
def test_each_fault_does_what_it_is_called(seed: int) -> None:
    whole = item(1)
    image, labels = whole.image[0], whole.labels.astype(np.float32)

    def spoilt(fault: str) -> NDArray[np.float32]:
        return augment._spoil(image, lambda: labels, (fault,), Certain(seed))

    def along(plane: NDArray[np.float32], axis: int) -> float:
        return float(np.abs(np.diff(plane, axis=axis)).mean())

    far = cv2.distanceTransform((labels == 0).astype(np.uint8), cv2.DIST_L2, 5) > 5
    ids = np.arange(1, int(labels.max()) + 1)
    shares = ndimage.mean(spoilt("dim"), labels, ids) / ndimage.mean(image, labels, ids)
    assert 0.2 < shares.min() < 0.9 and (shares < 1.02).all() and (shares > 0.95).any()
    np.testing.assert_allclose(spoilt("dim")[far], image[far], atol=0.01)

    specks = spoilt("debris") - image
    assert specks.min() > -1e-5 and specks.max() > 0.1 and (specks > 0.05).mean() < 0.2

    assert min(along(spoilt("blur"), n) / along(image, n) for n in (0, 1)) < 0.8

    light = spoilt("background") - image
    assert light.std() > 0.005 and along(light, 0) < 0.1 * along(image, 0)

    clipped = spoilt("clipping")
    assert clipped.max() == pytest.approx(1) and (clipped > 0.999).mean() > (image > 0.9).mean()

    # along Y, and neither another contrast nor noise
    coarse = augment._appearance(image, ("sampling",), Certain(seed, True, True, False, False))
    gains = [along(coarse, n) / along(image, n) for n in (0, 1)]
    assert gains[0] < 0.95 * gains[1]


def test_held_out_images_are_spread_over_each_source() -> None:
    items = [replace(item(0), name=str(n), source=n % 2) for n in range(62)]
    chosen = sample(items, 16)
    assert len(chosen) == 16 and {one.source for one in chosen} == {0, 1}
    for source in (0, 1):
        places = [int(one.name) // 2 for one in chosen if one.source == source]
        assert places[0] <= 2 and places[-1] >= 28
        assert {b - a for a, b in itertools.pairwise(places)} <= {3, 4}
    assert sample(items[:6], 16) == items[:6:2] + items[1:6:2]
