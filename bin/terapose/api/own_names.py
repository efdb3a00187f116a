"""Names that this program gives in a store, each where it gives it.

What has another name, or one of these names in another place, was put there by somebody else, and
`terapose.api.clean` leaves the store as it is.
"""

from __future__ import annotations

import re
from pathlib import PurePath

from terapose.io import files
from terapose.pipeline.graph import GRAPH
from terapose.pipeline.plan import KEPT
from terapose.results.outputs import IMAGES, LABELS

_N = "[0-9]+"
_CHUNK = rf"c(?:/{_N})*"
_COLUMNS = "[xyz][01]|position|count|id|first|lookup|patch_voxel|patch_label"
_BY_BLOCK = "by_block|table|relabel_map"
_TABLES = rf"(?:{_BY_BLOCK})/(?:{_COLUMNS})"
_ARRAYS = rf"flows|ends|counts|labels|cells|owner|cell_of|{_TABLES}"
_LONG = "objects|holes|cells"
"""Tables in parts."""
_IMAGE = "|".join(IMAGES)
_NAMES = "|".join(re.escape(stage.name) for stage in GRAPH)
_RUN = rf"(?:{_NAMES})-[0-9a-f]{{16}}"
_STAGE = rf"(?:{_RUN}|{_NAMES})"
_ASIDE = rf"{_RUN}/(?:(?:{_BY_BLOCK})/)?unsorted-[0-9a-f]{{32}}"
"""Where a gather puts rows aside to sort them: one that is killed leaves them."""
_ARRAY = rf"source/{_N}|tissue|{_STAGE}(?:/(?:{_ARRAYS}))?"
_RESULT = rf"{_RUN}/(?:result/)?{re.escape(LABELS)}"
_METADATA = r"zarr\.json|\.z(?:group|array|attrs)"

_FILE = re.compile(
    "|".join(
        [
            re.escape(KEPT),
            rf"image/level-{_N}\.npz",
            rf"(?:{_ARRAY})/(?:zarr\.json|{_CHUNK})",
            rf"{_RUN}/(?:(?:{_IMAGE})-)?{_N}(?:-holes|-boxes)?\.npz",
            rf"{_RUN}/(?:displacements|pieces|scale)\.npz",
            rf"{_RUN}/(?:{_LONG})/(?:{_N}-)?{_N}\.npz",
            rf"{_ASIDE}/{_N}-{_N}\.npz",
            rf"{_RESULT}/(?:(?:{_IMAGE})/(?:{_N}/)?)?(?:{_METADATA})",
            rf"{_RESULT}/(?:{_IMAGE})/{_N}/(?:c/)?{_N}(?:/{_N})*",
            rf"done/{_RUN}/(?:task-)?{_N}\.json",
            rf"ran-on/{_RUN}/(?:first|task-{_N})\.json",
            rf"again/(?:gather|{_NAMES})(?:\.(?:{_N}|{_NAMES}))?",
        ]
    )
)
_FOLDER = re.compile(
    "|".join(
        [
            "image|source|again|done|ran-on",
            rf"(?:{_ARRAY})(?:/{_CHUNK})?",
            rf"{_RUN}/(?:{_BY_BLOCK}|result|{_LONG})",
            _ASIDE,
            rf"{_RESULT}(?:/(?:{_IMAGE})(?:/{_N}(?:/c)?(?:/{_N})*)?)?",
            rf"(?:done|ran-on)/{_RUN}",
        ]
    )
)

_BEGUN = re.compile(r"(.+)\.[0-9a-f]{32}\.partial")
"""What Zarr calls a chunk that it is writing."""


def is_own(path: PurePath, *, is_file: bool) -> bool:
    """Whether this program gives such a name.

    Parameters
    ----------
    path
        In the store, from its top.
    is_file
        Whether it is a file, and not a folder.
    """
    if is_file and files.ASIDE_NAME.fullmatch(path.name):
        return True
    if is_file and (begun := _BEGUN.fullmatch(path.name)):
        path = path.with_name("zarr.json" if begun[1] == "zarr" else begun[1])
    return (_FILE if is_file else _FOLDER).fullmatch(path.as_posix()) is not None
