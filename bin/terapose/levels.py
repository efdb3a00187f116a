"""How the voxels of a coarser pyramid level and those of level 0 lie over one another."""

from __future__ import annotations


def factor_between(fine: int, coarse: int) -> float:
    """How much coarser a level is along an axis.

    Pyramids round odd lengths up or down: where a whole number explains the lengths, it is that.

    Parameters
    ----------
    fine, coarse
        Length of the axis at level 0 and at the level.
    """
    ratio = fine / coarse
    near = max(1, round(ratio))
    return float(near) if coarse in (fine // near, -(-fine // near)) else ratio
