"""Stands in for the package where Python runs in the folder that holds a clone called terapose.

There ``import terapose`` finds the clone before any installed package, and without this file takes
it for a package without content. The package itself is in ``bin/terapose``.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_PACKAGE = Path(__file__).parent / "bin" / "terapose"

if __name__ == "terapose":
    _spec = spec_from_file_location(
        __name__, _PACKAGE / "__init__.py", submodule_search_locations=[str(_PACKAGE)]
    )
    assert _spec is not None and _spec.loader is not None
    sys.modules[__name__] = module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[__name__])
