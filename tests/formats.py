"""One small file of each format, for the table in docs/formats.md."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
import zarr
from tests import hdf5_files, makers, micromanager, ome
from tests.io import test_bdv, test_imaris, test_n5, test_vendors
from tests.synthetic import voxels, write_ome_zarr, write_tiff, write_zarr

VOLUME = voxels(5, 33, 47)
CHANNELS = voxels(2, 5, 33, 47)
PLANES = voxels(3, 33, 47)
SIZE = (2.0, 0.5, 0.25)
NAMES = ("DNA", "CD3", "CD8")


@dataclass(frozen=True)
class Example:
    """A file and how it is opened.

    Attributes
    ----------
    what
        In words, for the table.
    write
        Writes it into a folder; returns the address.
    options
        Given to `open_image`.
    """

    what: str
    write: Callable[[Path], Path | str]
    options: dict[str, Any] = field(default_factory=dict)


def _ome_zarr(version: Any) -> Callable[[Path], Path]:
    options: dict[str, Any] = {"axes": "czyx", "voxel_size": SIZE, "channel_names": NAMES[:2]}
    return lambda folder: write_ome_zarr(
        folder / "a.zarr", CHANNELS, version=version, factors=(1, 2), **options
    )


def _zipped(folder: Path) -> Path:
    source = _ome_zarr("0.5")(folder)
    with zipfile.ZipFile(folder / "a.ozx", "w") as file:
        for path in sorted(source.rglob("*")):
            file.write(path, path.relative_to(source))
    return folder / "a.ozx"


def _stack(folder: Path) -> Path:
    for z, plane in enumerate(VOLUME):
        tifffile.imwrite(folder / f"img_{z}.tif", plane)
    return folder


def _by_channel(folder: Path) -> str:
    for name, channel in zip(NAMES, CHANNELS, strict=False):
        write_tiff(folder / f"{name}.tif", channel, kind="imagej", voxel_size=SIZE)
    return str(folder / "{c}.tif")


def _pattern(folder: Path) -> str:
    for c, channel in enumerate(CHANNELS):
        for z, plane in enumerate(channel):
            tifffile.imwrite(folder / f"img_{z}_{c}.tif", plane)
    return str(folder / "img_{z}_{c}.tif")


def _tiff(kind: Any, array: np.ndarray, **options: Any) -> Callable[[Path], Path]:
    end = "ome.tif" if kind == "ome" else "tif"
    return lambda folder: write_tiff(folder / f"a.{end}", array, kind=kind, **options)


def _plain(array: np.ndarray) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        tifffile.imwrite(folder / "a.tif", array, photometric="minisblack")
        return folder / "a.tif"

    return write


def _h5(array: np.ndarray, **attributes: Any) -> Callable[[Path], Path]:
    return lambda folder: hdf5_files.write(folder / "a.h5", "raw", array, **attributes)


def _several_h5(folder: Path) -> str:
    with h5py.File(folder / "a.h5", "w") as file:
        file["dapi"], file["membrane"] = VOLUME, VOLUME
    return f"{folder}/a.h5/dapi"


def _micromanager(folder: Path) -> Path:
    array = CHANNELS[None, None]
    planes = {(c, z, 0, 0): array[0, 0, c, z] for z in range(array.shape[3]) for c in range(2)}
    told = micromanager.summary(array)
    return micromanager.write_stack(folder / "a_MMStack.tif", planes, told)


def _positions(folder: Path) -> Path:
    array = CHANNELS[None, None].repeat(2, axis=0)
    told = micromanager.summary(array)
    path = folder / "a_MMStack.tif"
    return micromanager.write_stack(path, micromanager.places(array), told)


def _ndtiff(folder: Path) -> Path:
    names = NAMES[:2]
    places = [({"z": z, "channel": names[c]}, CHANNELS[c, z]) for z in range(5) for c in (0, 1)]
    micromanager.write_ndtiff(folder, places, told={"z-step_um": 2.0})
    return folder


def _scenes(folder: Path) -> Path:
    with tifffile.TiffWriter(folder / "a.ome.tif", ome=True) as file:
        for name in ("left", "right"):
            told = {"axes": "ZYX", "Name": name}
            file.write(VOLUME, metadata=told, photometric="minisblack", tile=(16, 16))
    return folder / "a.ome.tif"


def _described(xml: Callable[[str], str]) -> Callable[[Path], Path]:
    whole = ome.document(ome.image(PLANES[None, :, None], "<TiffData/>", channels=NAMES))
    return lambda folder: ome.write(folder / "a.ome.tif", PLANES, xml(whole))


def _lacking(folder: Path) -> Path:
    paths = ome.write_set(folder, CHANNELS[None], "C")
    paths[1].unlink()
    return paths[0]


def _outside(folder: Path) -> Path:
    planes = ome.plane(0, 0, 0, 0, "../b.tif", "u1") + ome.plane(0, 1, 0, 0, "a.ome.tif", "u0")
    xml = ome.document(ome.image(CHANNELS[None, :, :1], planes), uuid="u0")
    return ome.write(folder / "a.ome.tif", CHANNELS[0, :1], xml)


def _stale(folder: Path) -> Path:
    return ome.write(folder / "a.tif", VOLUME, "ImageJ=1.54f\nimages=9\nslices=9\n")


def _fluoview(folder: Path) -> Path:
    axes = [("X", 47, 0.25, "um"), ("Y", 33, 0.5, "um"), ("Z", 5, 2.0, "um"), ("Ch", 2, 1.0, "")]
    return makers.write_fluoview(folder / "a.tif", CHANNELS.reshape(10, 33, 47), axes)


def _scanimage(folder: Path) -> Path:
    told = {
        "SI.hChannels.channelSave": "[1;2]",
        "SI.hChannels.channelName": "{'green' 'red'}",
        "SI.hStackManager.framesPerSlice": 1,
    }
    planes = CHANNELS.swapaxes(0, 1).reshape(10, 33, 47)
    return makers.write_scanimage(folder / "a.tif", planes, told)


def _bdv(folder: Path) -> Path:
    test_bdv.write(folder / "a.h5")
    return test_bdv.write_xml(folder / "a.xml")


def _n5(folder: Path) -> Path:
    return test_n5.write_n5(folder / "a.n5", VOLUME, resolution=SIZE[::-1])


def _n5_viewer(folder: Path) -> Path:
    return test_n5.write_viewer(folder / "a.n5", CHANNELS)


def _n5_bdv(folder: Path) -> Path:
    return test_n5.write_bigdataviewer(folder / "a.n5", voxels(1, 3, 5, 33, 47)) / "setup0"


def _n5_levels(folder: Path) -> Path:
    units = {"axes": ["x", "y", "z"], "resolution": [4, 4, 40], "units": ["nm"] * 3}
    return test_n5.pyramid(folder / "a.n5/raw", VOLUME, **units)


def _n5_setups(folder: Path) -> Path:
    return test_n5.write_bigdataviewer(folder / "a.n5", voxels(2, 1, 5, 33, 47))


def _archive(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w") as file:
        file.writestr("planes/img_1.tif", b"")
    return folder / "a.zip"


def _plate(folder: Path) -> Path:
    zarr.create_group(
        str(folder / "p.zarr"),
        attributes={"ome": {"plate": {"wells": [{"path": "A/1"}, {"path": "B/3"}]}}},
    )
    return folder / "p.zarr"


def _gap(folder: Path) -> Path:
    _stack(folder)
    (folder / "img_3.tif").unlink()
    return folder


EXAMPLES: tuple[Example, ...] = (
    Example("OME-Zarr 0.4", _ome_zarr("0.4")),
    Example("OME-Zarr 0.5, level 1", _ome_zarr("0.5"), {"level": 1}),
    Example("an array inside an OME-Zarr image (`a.zarr/1`)", lambda f: _ome_zarr("0.5")(f) / "1"),
    Example("OME-Zarr in one file (`.ozx`, `.zarr.zip`)", _zipped),
    Example(
        "Zarr array with dimension names",
        lambda f: write_zarr(f / "a.zarr", CHANNELS, dimension_names="czyx"),
    ),
    Example(
        "Zarr array without, three axes",
        lambda f: write_zarr(f / "a.zarr", VOLUME, dimension_names=None),
    ),
    Example("N5 dataset (local)", _n5),
    Example("N5 of N5 Viewer or Fiji (`c0/s0`)", _n5_viewer, {"level": 1}),
    Example("N5 of BigDataViewer, BigStitcher (or its XML), a setup", _n5_bdv, {"time": 2}),
    Example("N5 of OpenOrganelle, Paintera, tensorstore", _n5_levels),
    Example(
        "OME-TIFF, tiled, with a pyramid",
        _tiff("ome", PLANES, axes="CYX", factors=(1, 2), channel_names=NAMES, voxel_size=SIZE),
    ),
    Example("OME-TIFF, times", _tiff("ome", voxels(3, 5, 33, 47), axes="TZYX"), {"time": 2}),
    Example(
        "OME-TIFF in several files, any of them",
        lambda f: ome.write_set(f, CHANNELS[None], "C", companion="")[1],
    ),
    Example(
        "OME-TIFF with a companion file, or that file",
        lambda f: ome.write_set(f, CHANNELS[None], "C")[-1],
    ),
    Example(
        "ImageJ hyperstack", _tiff("imagej", CHANNELS.swapaxes(0, 1), axes="ZCYX", voxel_size=SIZE)
    ),
    Example("OME-TIFF of several scenes, `series right`", _scenes, {"series": "right"}),
    Example("OME-TIFF with a byte after its XML", _described(lambda xml: xml + "\x01")),
    Example("Micro-Manager stack", _micromanager),
    Example("Micro-Manager, several positions, `series Pos1`", _positions, {"series": "Pos1"}),
    Example("NDTiff, a file or its folder", _ndtiff),
    Example(
        "QPTIFF (Akoya, PerkinElmer)",
        lambda f: makers.write_qptiff(f / "a.qptiff", PLANES, [("", n) for n in NAMES]),
    ),
    Example("Aperio SVS, grey", lambda f: makers.write_svs(f / "a.svs", PLANES[0])),
    Example("Leica SCN", lambda f: makers.write_scn(f / "a.scn", PLANES, NAMES)),
    Example("Zeiss LSM", lambda f: makers.write_lsm(f / "a.lsm", CHANNELS[None], NAMES[:2])),
    Example("MetaMorph STK", lambda f: makers.write_stk(f / "a.stk", VOLUME, step=2.0, unit="um")),
    Example("Olympus FluoView", _fluoview),
    Example("ScanImage", _scanimage),
    Example("TIFF that says its axes", _tiff("tiled", CHANNELS)),
    Example("TIFF in compressed strips", _tiff("strips", VOLUME)),
    Example("plain TIFF of pages", _plain(VOLUME)),
    Example("plain TIFF of pages, `axes CYX`", _plain(PLANES), {"axes": "CYX"}),
    Example(
        "plain TIFF of four axes, `axes ZCYX`", _plain(CHANNELS.swapaxes(0, 1)), {"axes": "ZCYX"}
    ),
    Example(
        "plain TIFF, channels last, `axes YXC`", _plain(np.moveaxis(PLANES, 0, -1)), {"axes": "YXC"}
    ),
    Example("HDF5, `raw` or the only dataset (PlantSeg)", _h5(VOLUME, element_size_um=SIZE)),
    Example("HDF5, a named dataset (`a.h5/dapi`)", _several_h5),
    Example(
        "HDF5 of ilastik (`axistags`)",
        _h5(
            np.moveaxis(CHANNELS, 0, -1),
            axistags='{"axes": [{"key": "z"}, {"key": "y"}, {"key": "x"}, {"key": "c"}]}',
        ),
    ),
    Example("BigDataViewer, BigStitcher HDF5 (or its XML)", _bdv),
    Example("Imaris", lambda f: test_imaris.write(f / "a.ims", channels=2, times=2), {"time": 1}),
    Example("a file each plane, a folder, `stack`", _stack, {"stack": True}),
    Example("a file each plane, `img_{z}_{c}.tif`, `stack`", _pattern, {"stack": True}),
    Example("a file each channel, `{c}.tif`, `stack`", _by_channel, {"stack": True}),
    Example(
        "Zeiss CZI (`terapose[formats]`)",
        lambda f: test_vendors.write_czi(f / "a.czi", CHANNELS[None]),
    ),
)
"""Files that are read."""

REFUSED: tuple[Example, ...] = (
    Example("plain TIFF of four axes", _plain(CHANNELS)),
    Example("plain TIFF, two channels last", _plain(np.moveaxis(PLANES[:2], 0, -1))),
    Example("plain TIFF of 1,000 pages", _plain(voxels(1000, 9, 9))),
    Example("several time points", _tiff("ome", voxels(3, 5, 33, 47), axes="TZYX")),
    Example("several scenes or positions", _scenes),
    Example("an OME-TIFF that lacks a file", _lacking),
    Example("an OME-TIFF that names a file elsewhere", _outside),
    Example("OME-XML with a wrong number", _described(lambda xml: xml.replace("0.25", "0,25"))),
    Example("a description of other pages than there are", _stale),
    Example("HDF5 with several datasets", lambda f: Path(_several_h5(f)).parent),
    Example(
        "a colour image",
        lambda f: makers.write_svs(f / "a.svs", voxels(33, 47, 3, dtype="uint8"), "rgb"),
    ),
    Example("a plate", _plate),
    Example("an N5 with several setups", _n5_setups),
    Example("a folder of images", _stack),
    Example("planes of which one is missing, `stack`", _gap, {"stack": True}),
    Example(
        "planes and channels without a pattern, `stack`",
        lambda f: Path(_pattern(f)).parent,
        {"stack": True},
    ),
    Example("an archive without a Zarr", _archive),
)
"""Files that are refused, and told why."""
