"""Write nextflow_schema.json and docs/parameters.md from the parameters' definitions.

The definitions are those of `terapose.core.params`; the few parameters that steer the workflow
alone are described here. Run it after changing one (`make docs`); `--check` fails where the two
files are out of date.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from common import ROOT
from terapose.core.param_faults import IN_WORDS
from terapose.core.params import SECOND, SELECTION, Parameters
from terapose.pipeline.graph import PARAMETERS
from terapose.pipeline.job import shaping

SCHEMA = ROOT / "nextflow_schema.json"
PAGE = ROOT / "docs" / "parameters.md"

Json = dict[str, Any]

WORKFLOW: dict[str, Json] = {
    "input": {
        "type": "string",
        "description": "Image: a path, a URL, a folder of images, a pattern in quotes, or a "
        "samplesheet (CSV with the columns sample and image; each further one is a parameter).",
    },
    "outdir": {
        "type": "string",
        "default": "results",
        "description": "Folder for the results; each sample has a folder in it.",
    },
    "publish_layout": {
        "type": "string",
        "enum": ["sample", "mcmicro"],
        "default": "sample",
        "description": "Where results go in outdir: `<sample>/`, or, in a project of MCMICRO, "
        "`segmentation/terapose-<sample>/`, with the mask `cell.ome.tif`.",
    },
    "publish_mode": {
        "type": "string",
        "enum": ["copy", "link", "symlink", "rellink"],
        "default": "copy",
        "description": "How Nextflow brings results to outdir.",
    },
    "simulate": {
        "type": "string",
        "description": "Without an input: simulate nuclei in a volume of this shape (Z,Y,X), "
        "segment it and score the result.",
    },
}
"""Parameters of main.nf that `terapose` does not know."""

GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "workflow": ("Workflow (`nextflow run` only)", tuple(WORKFLOW)),
    "image": (
        "Image",
        (
            *("mode", *SELECTION, "channels", "channel_merge", "markers", "identity"),
            *("voxel_size", "pixel_size", "anisotropy"),
        ),
    ),
    "network": (
        "Network",
        (
            *("model", "model_digest", "diameter", "tile_overlap"),
            *("augment", "skip_empty", "precision", "batch_size", "use_gpu"),
        ),
    ),
    "intensities": (
        "Intensities",
        (
            *("normalize", "percentiles", "percentile_sampling", "normalize_tile"),
            *("lowhigh", "invert", "foreground_min"),
        ),
    ),
    "cells": (
        "From flows to cells",
        ("flow_scaling", "flow3d_smooth", "cellprob_threshold", "niter"),
    ),
    "filters": (
        "Which cells stay",
        (
            *("flow_threshold", "stitch_threshold", "min_size"),
            *("max_size_fraction", "min_median_fraction", "border"),
        ),
    ),
    "results": (
        "Compartments and tables",
        (
            *("expand", *SECOND, "measure", "table", "thumbnails", "mask_tiff"),
            *("upscale", "ome_zarr_version"),
        ),
    ),
    "work": (
        "How the work is cut, and what is kept",
        (
            *("block_shape", "slab_planes", "rectangle", "max_tasks"),
            *("flow_precision", "keep_intermediates"),
        ),
    ),
}
"""Title and parameters of each group, in the order of the page."""

_HEAD = """# Parameters

Made by `make docs` from `bin/terapose/core/params.py`; not to be edited by hand.

The same names everywhere: `"min_size": 50` in a file for `nextflow run . -params-file`,
`--min_size 50` after `nextflow run .`, `--min-size 50` after `terapose segment`,
`min_size=50` in Python. Lists are `[64, 256, 256]` in JSON and `64,256,256` on a command line.
All parameters are checked together before anything is computed, and all faults are named in one
message.

The last column says what runs again when a parameter is changed and the workflow is run with
`-resume`: the stage named, and all that follow it
([the stages in their order](architecture.md#the-stages)). What comes before is taken from the
earlier run. "Nothing" means that the parameter does not change the result: tasks that take it may
start again, but find their work done and end at once.

What an earlier run has dropped has to be computed again. With `keep_intermediates` `flows`, the
default, every parameter from `cellprob_threshold` down can be changed; another `flow_scaling` or
`flow3d_smooth` may need `all`, because the sum that they change is dropped once it has been read,
and with `none` every change needs the network again. `terapose segment` does that by itself. The
workflow stops, says what it misses, and computes it when it is run with `-resume` once more (for
each stage of which something was dropped); without `-resume` it begins anew.
"""


def groups() -> dict[str, dict[str, Json]]:
    """The parameters of each group as JSON schema.

    Raises
    ------
    ValueError
        If a parameter is in no group or in two.
    """
    known = {**WORKFLOW, **Parameters.model_json_schema()["properties"]}
    listed = [name for _, names in GROUPS.values() for name in names]
    if sorted(listed) != sorted(known):
        raise ValueError(f"GROUPS is out of step: {sorted(set(listed) ^ set(known))}")
    return {
        group: {name: _property(known[name]) for name in names}
        for group, (_, names) in GROUPS.items()
    }


def _property(given: Json) -> Json:
    """A parameter as nextflow_schema.json has it: no null, and lists may be written as text."""
    found = {k: v for k, v in given.items() if k not in ("title", "anyOf", "ge")}
    parts = [part for part in given.get("anyOf", ()) if part["type"] != "null"]
    found |= parts[0] if parts else {}
    if len(parts) > 1:  # a number or a word
        found["type"] = [part["type"] for part in parts]
    if "ge" in given:
        found["minimum"] = given["ge"]
    if found["type"] == "array":
        items = found.pop("prefixItems", [found.get("items")])[0]
        found["items"] = {"type": [i["type"] for i in items.get("anyOf", [items])]}
        if len(found["items"]["type"]) == 1:
            found["items"] = items
        # one number stands for a list of one, and "64,256,256" for a list of three
        found["type"] = ["array", "string"] + ["number"] * (
            found.get("minItems", 1) == 1 and "enum" not in found["items"]
        )
    if found.get("default", 0) in (None, ""):
        del found["default"]
    return found


def schema() -> str:
    """The text of nextflow_schema.json."""
    defined = {}
    for group, properties in groups().items():
        defined[group] = {
            "title": GROUPS[group][0].replace("`", ""),
            "type": "object",
            "properties": properties,
        }
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Terapose pipeline parameters",
        "description": "Cell segmentation for images that fit on no single machine",
        "type": "object",
        "$defs": defined,
        "allOf": [{"$ref": f"#/$defs/{group}"} for group in defined],
    }
    return json.dumps(document, indent=2) + "\n"


def page() -> str:
    """The text of docs/parameters.md."""
    parts = [_HEAD]
    for group, properties in groups().items():
        parts += [
            f"\n## {GROUPS[group][0]}\n\n"
            "| name | type | default | allowed | what it does | runs again from |\n"
            "| --- | --- | --- | --- | --- | --- |\n"
        ]
        parts += [_row(name, found) for name, found in properties.items()]
    return "".join(parts)


def _row(name: str, found: Json) -> str:
    columns = (
        f"`{name}`",
        _type(found),
        f"`{_text(found['default'])}`" if "default" in found else "-",
        _allowed(name, found),
        found["description"],
        rerun(name),
    )
    return f"| {' | '.join(columns)} |\n"


def _type(found: Json) -> str:
    """A type in words."""
    if "enum" in found:
        return "choice"
    words = {"string": "text", "boolean": "true or false", "integer": "whole number"}
    if isinstance(found["type"], str):
        return words.get(found["type"], found["type"])
    if "items" not in found:
        return " or ".join(words[t] for t in found["type"])
    types = found["items"]["type"]
    types = [types] if isinstance(types, str) else types
    kind = " or ".join(words.get(t, t) + "s" for t in types).replace("texts", "names")
    least, most = found.get("minItems", 1), found.get("maxItems")
    if least == most:
        return f"{least} {kind}"
    between = "or" if most == least + 1 else "to"
    return f"{least} {between} {most} {kind}" if most else f"one or more {kind}"


def _text(value: Any) -> str:
    """A default as one would give it on a command line."""
    if isinstance(value, list):
        return ",".join(part if isinstance(part, str) else f"{part:g}" for part in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _allowed(name: str, found: Json) -> str:
    """What may be given, as far as the type does not say it."""
    items = found.get("items", {})
    if values := found.get("enum") or items.get("enum"):
        return ", ".join(f"`{value}`" for value in values)
    signs = {"exclusiveMinimum": "> ", "minimum": "≥ ", "exclusiveMaximum": "< ", "maximum": "≤ "}
    bounds = [f"{sign}{found[key]:g}" for key, sign in signs.items() if key in found]
    if "pattern" in found:
        bounds.append(IN_WORDS[name])
    return ", ".join(bounds) or "-"


def rerun(name: str) -> str:
    """The first stage that another value runs again."""
    if name in WORKFLOW:
        last = {"publish_layout": "finish", "publish_mode": "finish", "outdir": "nothing"}
        return last.get(name, "plan")
    if not shaping({name: None}) and name not in PARAMETERS["plan"]:
        return "nothing"
    # not the digest itself, but the file is looked at again: a new file, a new plan
    return next((stage for stage, names in PARAMETERS.items() if name in names), "fetch")


def main() -> int:
    """Write both files, or check them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail if out of date")
    options = parser.parse_args()
    code = 0
    for path, text in ((SCHEMA, schema()), (PAGE, page())):
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if options.check:
            print(f"{path.relative_to(ROOT)} is out of date: run make docs", file=sys.stderr)
            code = 1
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
