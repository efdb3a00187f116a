"""What a plan says of intensities."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from terapose.core.normalizing import NORMALIZATIONS, Measured


class IntensityPlan(BaseModel):
    """How intensities become the network's input.

    Attributes
    ----------
    mode, merge
        Values of ``normalize`` and ``channel_merge``.
    percentiles, sampling, lowhigh, invert, foreground_min, tile
        What goes with them.
    windows
        Of each channel in use, the bins in which every value is counted by itself
        (`terapose.algorithms.normalize.histogram`).
    """

    model_config = ConfigDict(frozen=True)

    mode: str
    merge: str
    percentiles: tuple[float, float]
    sampling: str
    lowhigh: tuple[float, ...] | None
    invert: bool
    foreground_min: float | None
    tile: int
    windows: tuple[tuple[int, ...], ...]

    @property
    def measures(self) -> Measured:
        """What low and high are found of."""
        return NORMALIZATIONS[self.mode].measures

    @property
    def given(self) -> bool:
        """Whether low and high are no percentiles: these are used whatever they are."""
        return self.merge == "gmm" or not self.measures
