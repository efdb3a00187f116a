"""What is compiled where the environment is made is all that tasks need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import tifffile
from tests.synthetic import nuclei
from tests.unets import gradient_unet, save

import terapose

BIN = Path(terapose.__file__).parents[1]
RUN = """
import sys
from numba.core.dispatcher import Dispatcher

def compiled():
    modules = [one for name, one in sys.modules.items() if name.startswith("terapose.")]
    kernels = {one for module in modules for one in vars(module).values()
               if isinstance(one, Dispatcher)}
    return {f"{one.py_func.__name__} {given}" for one in kernels for given in one.signatures}

if __name__ == "__main__":
    from terapose.pipeline import warm_up
    warm_up.main()
    ready = compiled()
    from terapose.api.runner import segment_file
    from terapose.core.params import check

    image, model = sys.argv[1:3]
    given = {"model": model, "cellprob_threshold": -0.5, "diameter": 10}
    for mode in ("3d", "2d", "stitch"):
        more = {"expand": 2} if mode == "2d" else {}
        params = check({**given, **more, "mode": mode})
        record = segment_file(image, f"{image}-{mode}", params, workers=1)
        assert record["cells"], mode
    assert len(ready) > 30
    print(*sorted(compiled() - ready), sep="\\n", end="")
"""


def test_no_stage_compiles_what_is_not_ready(tmp_path: Path) -> None:
    # with more points than sinks are looked for with, in each mode
    image = tmp_path / "image.tif"
    model = save(gradient_unet().state_dict(), tmp_path / "gradient.pth")
    tifffile.imwrite(image, nuclei((12, 60, 70))[0].astype(np.uint16), metadata={"axes": "ZYX"})
    script = tmp_path / "script.py"
    script.write_text(RUN)
    done = subprocess.run(
        [sys.executable, script, image, model],
        env={**os.environ, "PYTHONPATH": str(BIN)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
