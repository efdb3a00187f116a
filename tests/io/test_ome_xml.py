"""OME-XML as it is found: with bytes around it, in any order, wrong, or of what is not a volume."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tests import ome
from tests.checks import assert_refused, same
from tests.synthetic import voxels

from terapose.io.images.opening import open_image


def _write(path: Path, planes: np.ndarray, description: bytes, kind: int = 2) -> Path:
    """Planes with a description of any bytes, in a tag of any type."""
    with tifffile.TiffWriter(path) as file:
        for n, plane in enumerate(planes):
            tag = (270, kind, len(description), description, True)
            tags = [tag] if n == 0 else []
            file.write(plane, metadata=None, contiguous=False, extratags=tags)
    return path


def _channels(array: np.ndarray, **options: Any) -> str:
    """OME-XML of channels of one plane."""
    five = array[None, :, None]
    names = [f"µ{n}" for n in range(len(array))]
    return ome.document(ome.image(five, "<TiffData/>", channels=names, **options))


@pytest.mark.parametrize("kind", [1, 2, 7])
@pytest.mark.parametrize(
    ("head", "tail"),
    [
        (b"", b"\x01"),
        (b"", b"\0\0"),
        (b"", b"\0\x01\x02 \r\n\t\0"),
        (b"", b" " * 300),
        (b"\xef\xbb\xbf", b"\x7f"),
        (b"\x01\n ", b""),
        (b"ImageJ=1.54\n", b"\n\0"),
    ],
)
def test_bytes_around_it_do_no_harm(tmp_path: Path, head: bytes, tail: bytes, kind: int) -> None:
    array = voxels(3, 33, 47)
    xml = _channels(array).encode()
    image = open_image(_write(tmp_path / "a.tif", array, head + xml + tail, kind))
    assert image.format == "ome-tiff"
    assert image.channel_names == ("µ0", "µ1", "µ2")
    assert image.voxel_size == (2.0, 0.5, 0.25)
    assert same(image, array[:, None])


@pytest.mark.parametrize("declared", ["UTF-8", "utf-16", "ISO-8859-1", "x-unknown"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_encodings(tmp_path: Path, declared: str, encoding: str) -> None:
    """What it says of its encoding is wrong as often as right."""
    array = voxels(3, 33, 47)
    xml = _channels(array).replace("UTF-8", declared).encode(encoding)
    image = open_image(_write(tmp_path / "a.tif", array, xml))
    assert image.channel_names == ("µ0", "µ1", "µ2")
    assert same(image, array[:, None])


def _first(old: str, new: str) -> Any:
    return lambda xml: xml.replace(old, new, 1)


def _planes(*attributes: str) -> Any:
    return _first("<TiffData/>", "".join(f"<TiffData {one}/>" for one in attributes))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda xml: xml[:-40], "unclosed token|no element found|not well-formed"),
        (lambda xml: xml + "<Image/>", "junk after document element"),
        (_first("</Pixels>", ""), "mismatched tag"),
        (_first("µ0", "\x01"), "not well-formed"),
        (_first("µ0", "a & b"), "not well-formed"),
        (_first("<OME ", "<om:OME "), "unbound prefix"),
        (_first('"0.25"', '"0,25"'), "image 1: PhysicalSizeX '0,25' is not a number"),
        (_first('"2"', '"two"'), "image 1: PhysicalSizeZ 'two' is not a number"),
        (_first('SizeX="47"', 'SizeX="47.0"'), "image 1: SizeX '47.0' is not a number"),
        (_first('SizeC="3"', ""), "image 1: no SizeC"),
        (_first('SizeZ="1"', 'SizeZ="0"'), "image 1: SizeZ 0"),
        (_first('SizeX="47"', f'SizeX="{"4" * 400}"'), "image 1: SizeX 4444"),
        (_first('SizeC="3"', 'SizeC="1000000000"'), "1000000000 planes, where its files have"),
        (_first('SizeZ="1"', 'SizeZ="9999999999"'), "image 1: SizeZ 9999999999"),
        (_planes('IFD="-1" PlaneCount="3"'), "image 1: IFD -1"),
        (_planes('PlaneCount="-3"'), "image 1: PlaneCount -3"),
        (_planes('FirstC="-1" IFD="0"'), "image 1: FirstC -1"),
        (_planes('IFD="0" PlaneCount="9999999999"'), "PlaneCount 9999999999, where the image has"),
        (_planes('NumPlanes="9999999999"'), "PlaneCount 9999999999, where the image has 3 planes"),
        (_planes(*(f'FirstC="{c}" IFD="0"' for c in range(3))), "image 1: IFD 0 is several"),
        (_planes('IFD="0" PlaneCount="2"', 'IFD="1" FirstC="2"'), "image 1: IFD 1 is several"),
        (
            _planes('IFD="0" PlaneCount="3"', 'IFD="1" FirstC="1"', 'IFD="2" FirstC="0"'),
            "image 1: IFD 2 is several",
        ),
        (_first("XYZCT", "XYZC"), "image 1: DimensionOrder XYZC"),
        (_first("<TiffData/>", '<TiffData IFD="a"/>'), "image 1: IFD 'a' is not a number"),
        (_first('SizeX="47"', 'SizeX="48"'), "does not fit|cannot handle"),
        (_first('SizeC="3"', 'SizeC="2"'), "expected 2 frames, got 3"),
        (_first('SamplesPerPixel="1"', 'SamplesPerPixel="2"'), "differing SamplesPerPixel"),
        (lambda xml: xml.encode("utf-16").decode("latin-1"), "."),
        (lambda _: ome.document(), "no image in it"),
    ],
)
def test_what_is_wrong_with_it_is_said(tmp_path: Path, change: Any, reason: str) -> None:
    array = voxels(3, 33, 47)
    xml = change(_channels(array)).encode("latin-1")
    path = _write(tmp_path / "a.tif", array, xml)
    if reason != ".":
        reason = rf"its OME-XML cannot be used; got .*({reason}).*; correct it .* or give axes"
    assert_refused(reason, path)
    image = open_image(path, axes="CYX")
    assert (image.format, image.voxel_size) == ("tiff", None)
    assert image.layout.note.startswith("its OME-XML is not used: ")
    assert same(image, array[:, None])
    again = open_image(path, **image.selection.options)
    assert again == image and again.identity == image.identity


@pytest.mark.parametrize("own", ["", "u1"])
@pytest.mark.parametrize("written", ["", "u1", "u2"])
def test_identifiers_without_names(tmp_path: Path, own: str, written: str) -> None:
    array = voxels(3, 33, 47)
    planes = f"<TiffData><UUID>{written}</UUID></TiffData>"
    xml = ome.document(ome.image(array[None, :, None], planes), uuid=own)
    path = ome.write(tmp_path / "a.tif", array, xml)
    if (own, written) == ("u1", "u2"):
        assert_refused("its OME-XML cannot be used; got image 1: the file u2 has no name", path)
    else:
        assert same(open_image(path), array[:, None])


def test_axes_over_those_of_good_xml(tmp_path: Path) -> None:
    """Who knows better than the file keeps its other metadata."""
    array = voxels(5, 33, 47)
    path = _write(tmp_path / "a.tif", array, _channels(array).encode())
    image = open_image(path, axes="ZYX")
    assert (image.format, image.voxel_size) == ("ome-tiff", (2.0, 0.5, 0.25))
    assert image.layout.note == ""
    assert same(image, array[None])


ORDERS = ["XY" + "".join(rest) for rest in itertools.permutations("ZCT")]


@pytest.mark.parametrize("planes", ["default", "count", "listed", "shuffled", "none"])
@pytest.mark.parametrize("order", ORDERS)
def test_orders_of_planes(tmp_path: Path, order: str, planes: str) -> None:
    """Planes are where the XML says, whatever their order in the file."""
    array = voxels(2, 3, 5, 33, 47)
    places = list(np.ndindex(array.shape[:3]))
    # the last axis of the order is the slowest
    places.sort(key=lambda place: [place["TCZ".index(axis)] for axis in order[:1:-1]])
    if planes == "shuffled":
        np.random.default_rng(1).shuffle(places)
    listed = [ome.plane(t, c, z, ifd) for ifd, (t, c, z) in enumerate(places)]
    elements = {
        "default": "<TiffData/>",
        "count": f'<TiffData IFD="0" PlaneCount="{len(places)}"/>',
        "none": "",
    }.get(planes, "".join(listed[::-1]))
    xml = ome.document(ome.image(array, elements, order=order, channels="abc"))
    path = ome.write(tmp_path / "a.tif", [array[t, c, z] for t, c, z in places], xml)
    image = open_image(path, time=2)
    assert image.axes == order[::-1].replace("YX", "") + "YX"
    assert image.channel_names == ("a", "b", "c")
    assert same(image, array[1])


def _samples(
    photometric: Any, planar: Any, channels: int
) -> tuple[np.ndarray, str, dict[str, Any]]:
    array = voxels(channels, 3, 33, 47, dtype="uint8")
    stored = array if planar == "separate" else array.transpose(0, 2, 3, 1)
    five = array.reshape(1, -1, 1, 33, 47)
    xml = ome.document(ome.image(five, "<TiffData/>", samples=3))
    return stored, xml, {"photometric": photometric, "planarconfig": planar}


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_of_pixels(tmp_path: Path, channels: int, planar: Any) -> None:
    for photometric, message in (
        ("rgb", "colour image"),
        ("minisblack", r"an axis S \(samples of a"),
    ):
        stored, xml, options = _samples(photometric, planar, channels)
        with tifffile.TiffWriter(tmp_path / "a.tif", ome=False) as file:
            for n, plane in enumerate(stored):
                first = xml if n == 0 else None
                file.write(plane, description=first, metadata=None, **options)
        if photometric == "rgb" or channels > 1:
            assert_refused(message, tmp_path / "a.tif")
        else:  # three values that are no colours: channels
            image = open_image(tmp_path / "a.tif")
            expected = stored[0] if planar == "separate" else stored[0].transpose(2, 0, 1)
            assert same(image, expected[:, None])
            assert image.channel_names == ("channel 1", "channel 2", "channel 3")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("lifetime", r"H \(lifetimes\)"),
        ("lambda", r"E \(wavelengths\)"),
        ("phase", r"P \(phases"),
        ("angle", r"A \(angles\)"),
        ("tile", r"R \(positions\)"),
    ],
)
@pytest.mark.parametrize("along", ["Z", "C", "T"])
def test_modulo(tmp_path: Path, kind: str, said: str, along: str) -> None:
    """An axis that holds two: neither is what the axes of an image are."""
    lengths = {axis: 6 if axis == along else 1 for axis in "TCZ"}
    array = voxels(*lengths.values(), 33, 47)
    modulo = (
        '<StructuredAnnotations><XMLAnnotation ID="Annotation:0" Namespace='
        '"openmicroscopy.org/omero/dimension/modulo"><Value><Modulo namespace="x">'
        f'<ModuloAlong{along} Type="{kind}" Start="0" End="2" Step="1"/>'
        "</Modulo></Value></XMLAnnotation></StructuredAnnotations>"
    )
    told = ome.image(array, "<TiffData/>").replace(
        "</Image>", '<AnnotationRef ID="Annotation:0"/></Image>'
    )
    path = ome.write(tmp_path / "a.tif", array.reshape(6, 33, 47), ome.document(told, more=modulo))
    assert_refused(rf"the image has an axis {said}.* give them .* axes", path)
    odd = ome.document(told, more=modulo.replace(kind, "odd"))
    path = ome.write(tmp_path / "b.tif", array.reshape(6, 33, 47), odd)
    assert_refused("its OME-XML cannot be used; got KeyError: 'odd'", path)


@pytest.mark.parametrize(
    ("attributes", "order"),
    [
        (['IFD="1" PlaneCount="2"', 'IFD="0" FirstC="2"'], [1, 2, 0]),
        (['IFD="0" PlaneCount="3"', 'IFD="1" FirstC="1"'], [0, 1, 2]),
        (['FirstC="2" IFD="1"', 'FirstC="0" IFD="2"', 'FirstC="1" IFD="0"'], [2, 0, 1]),
    ],
)
def test_pages_in_any_order(tmp_path: Path, attributes: list[str], order: list[int]) -> None:
    array = voxels(3, 33, 47)
    xml = _planes(*attributes)(_channels(array)).encode()
    assert same(open_image(_write(tmp_path / "a.tif", array, xml)), array[order][:, None])
