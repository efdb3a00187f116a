"""What an input may name, and what it should be understood as, by the workflow and by `segment`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from terapose.io.images.folders import suffixes

FILES = (
    *("plain.tif", "img[1].tif", "img1.tif", "img2.tif", "x{1,2}.tif", "d$HOME.tif", "o'b.tif"),
    *("my data [1]/slide (a) & b.tif", "my data 1/other.tif", "a\nb/one.tif", "quoted/it's.tif"),
    *("scan/p_10.TIF", "scan/p_9.tif", "scan/.p_1.tif", "scan/notes.txt", "scan/thumb.png"),
    *("mixed/c10.ome.tif", "mixed/c9.ome.zarr/zarr.json", "mixed/c1.n5/attributes.json"),
    *("mixed/store/.zgroup", "mixed/folder/deep.tif", "mixed/table.csv", "mixed/z.ome.zarr.zip"),
    *("nothing/readme.md", "plate/.zgroup", "plate/0.tif", "set.n5/c0/s0/attributes.json"),
    *("run_1/NDTiff.index", "run_1/run_NDTiffStack.tif", "run_1/run_NDTiffStack_1.tif"),
)


def csv(*lines: str, end: str = "\n") -> bytes:
    return (end.join(lines) + end).encode()


SHEETS: dict[str, bytes] = {
    "bom.csv": b"\xef\xbb\xbf" + csv("sample,image", "a,plain.tif", end="\r\n"),
    "old-mac.csv": csv("sample,image", "a,plain.tif", end="\r"),
    "semicolons.csv": csv("sample;image;channels", 'a;plain.tif;"1,2"', ";;", ""),
    "tabs.tsv": csv("sample\timage", "a\tplain.tif"),
    "UPPER.CSV": csv("sample,image", "a,plain.tif"),
    "header.csv": csv('" Sample ",IMAGE,Min size,pixel-size,', "a , plain.tif ,7,,"),
    "unicode.txt": "sample\timage\nä\tplain.tif\n".encode("utf-16"),
    "named.csv": csv("sep=;", "sample;image", "a;plain.tif"),
    "quotes.csv": csv("image,sample", '"my data [1]/slide (a) & b.tif","my slide (1)"'),
    "deep/sheet.csv": csv("sample,image,markers", "a,here.tif,m.csv", "b,plain.tif,"),
    "deep/tissue.csv": csv(
        "sample,image,region",
        "a,here.tif,m.tif",
        'b,here.tif,"0:1,2:9,3:8"',
        "c,here.tif,s3://bucket/m.tif",
        "d,here.tif,plain.tif",
    ),
    "deep/networks.csv": csv(
        "sample,image,model,process",
        'a,here.tif,"m.csv, m.tif,nuclei-small",quoted',
        'b,here.tif,"plain.tif,gone.pth",m.csv',
        "c,here.tif,inside,",
        """d,here.tif,"https://host/a.pth?sig=a, 'b$,,c",""",
    ),
    "urls.csv": csv("sample,image", "a,s3://bucket/a*.zarr", "b,https://server/b.zarr?x=1"),
    "planes.csv": csv("sample,image,stack", "a,scan/p_*,TRUE", "b,scan,1", "c,plain.tif,"),
    "missing.csv": csv("name;image", "a;plain.tif"),
    "squeezed.csv": csv("SAMPLE,im-age,minsize,pixel\u00a0size", "a,plain.tif,7,0.5"),
    "tab-named.csv": csv("sep=\t", "sample\timage\tmin_size", "a\tplain.tif\t7"),
    "quoted-named.csv": csv('"sep=;"', "sample;image", "a;plain.tif"),
    "other-named.csv": csv("sep=|", "sample|image", "a|plain.tif"),
    "blank-lines.csv": csv("", " ,,", "sample,image", "", "a,plain.tif", ",,"),
    "little.csv": "sample,image\na,plain.tif\n".encode("utf-16-le"),
    "big.csv": "sample,image\na,plain.tif\n".encode("utf-16-be"),
    "wide.csv": "sample,image\na,plain.tif\n".encode("utf-32"),
    "broken.csv": csv("sample,image", '"a', 'b",plain.tif'),
    "pipes.csv": csv("sample|image", "a|plain.tif"),
    "empty.csv": b"",
    "header-only.csv": csv("sample,image"),
    "latin.csv": "sample,image\nä,plain.tif\n".encode("latin-1"),
    "unquoted.csv": csv("sample,image,channels", "a,plain.tif,1,2"),
    "open.csv": csv("sample,image", 'a,"plain.tif'),
    "nameless.csv": csv("sample,image,", "a,plain.tif,x"),
    "twice.csv": csv("sample,image,Image", "a,plain.tif,x"),
    "blank.csv": csv("sample,image", "a,plain.tif", "b,"),
    "outdir.csv": csv("sample,image,outdir", "a,plain.tif,x"),
    "several.csv": csv("sample,image", "a,scan/p_*"),
    "same.csv": csv("sample,image", "a,plain.tif", "a,img1.tif"),
    "case.csv": csv("sample,image", "a,plain.tif", "A,img1.tif", "b,img1.tif"),
    "composed.csv": csv("sample,image", "\u00e9,plain.tif", "e\u0301,img1.tif"),
    "ours.csv": csv("sample,image", "labels.zarr,plain.tif"),
    **{
        f"name{n}.csv": csv("sample,image", f"{name},plain.tif")
        for n, name in enumerate(
            ("..", ".", "a/b", "a\\b", "it's", '"say ""x"""', "$(touch X)", "`x`", "pipeline_info")
        )
    },
}

WHERE = "sample, image and names of parameters, separated by commas, semicolons or tabs"
BOTH = "no columns sample and image"
NONE = "names no image; check the pattern or the samplesheet"
INPUTS = "an image, a folder, a pattern in quotes or a samplesheet"
PLAIN = "allowed: no quotes, slashes or $, no dot in front, no more than 200 characters"
NAME = "name it in a samplesheet (columns sample and image)"
GOOD = [["a", "plain.tif", {}]]

ANSWERS: list[tuple[str, bool, list[list[Any]] | str]] = [
    # a name is a name, whatever is in it, and a pattern only where nothing has that name
    ("img[1].tif", False, [["img[1]", "img[1].tif", {}]]),
    ("img[12].tif", False, [["img1", "img1.tif", {}], ["img2", "img2.tif", {}]]),
    ("x{1,2}.tif", False, [["x{1,2}", "x{1,2}.tif", {}]]),
    (
        "my data [1]/*.tif",
        False,
        [["slide (a) & b", "my data [1]/slide (a) & b.tif", {}]],
    ),
    ("missing.tif", False, [["missing", "missing.tif", {}]]),
    ("scan/p_*", False, [["p_9", "scan/p_9.tif", {}], ["p_10", "scan/p_10.TIF", {}]]),
    ("*.nrrd", False, f"*.nrrd: {NONE}"),
    ("s3://bucket/[a].zarr", False, [["[a]", "s3://bucket/[a].zarr", {}]]),
    # folders
    ("scan", False, [["p_9", "scan/p_9.tif", {}], ["p_10", "scan/p_10.TIF", {}]]),
    (
        "mixed/",
        False,
        [
            ["c1", "mixed/c1.n5", {}],
            ["c9", "mixed/c9.ome.zarr", {}],
            ["c10", "mixed/c10.ome.tif", {}],
            ["store", "mixed/store", {}],
            ["z", "mixed/z.ome.zarr.zip", {}],
        ],
    ),
    ("plate", False, [["plate", "plate", {}]]),
    ("set.n5/c0", False, [["c0", "set.n5/c0", {}]]),
    ("run_1", False, [["run_1", "run_1", {}]]),
    ("mixed/c1.n5", False, [["c1", "mixed/c1.n5", {}]]),
    (
        "nothing",
        False,
        f"nothing: the folder holds no image; got readme.md; allowed: {' '.join(suffixes())}",
    ),
    # with stack they are one image
    ("scan", True, [["scan", "scan", {}]]),
    ("scan/p_*.tif", True, [["p", "scan/p_*.tif", {}]]),
    ("scan/*.tif", True, [["scan", "scan/*.tif", {}]]),
    ("plain.tif", True, [["plain", "plain.tif", {}]]),
    # samplesheets
    *((name, False, GOOD) for name in ("bom.csv", "old-mac.csv", "tabs.tsv", "UPPER.CSV")),
    *((f"{name}.csv", False, GOOD) for name in ("quoted-named", "blank-lines")),
    *((f"{name}.csv", False, GOOD) for name in ("little", "big", "wide")),
    ("squeezed.csv", False, [["a", "plain.tif", {"min_size": "7", "pixel_size": "0.5"}]]),
    ("tab-named.csv", False, [["a", "plain.tif", {"min_size": "7"}]]),
    ("semicolons.csv", False, [["a", "plain.tif", {"channels": "1,2"}]]),
    ("header.csv", False, [["a", "plain.tif", {"min_size": "7"}]]),
    ("unicode.txt", False, [["ä", "plain.tif", {}]]),
    ("named.csv", False, GOOD),
    ("quotes.csv", False, [["my slide (1)", "my data [1]/slide (a) & b.tif", {}]]),
    (
        "deep/sheet.csv",
        False,
        [["a", "deep/here.tif", {"markers": "deep/m.csv"}], ["b", "plain.tif", {}]],
    ),
    (
        "deep/networks.csv",
        False,
        [
            # folders are no networks or functions
            [
                "a",
                "deep/here.tif",
                {"model": "deep/m.csv,deep/m.tif,nuclei-small", "process": "quoted"},
            ],
            ["b", "deep/here.tif", {"model": "plain.tif,gone.pth", "process": "deep/m.csv"}],
            ["c", "deep/here.tif", {"model": "inside"}],
            ["d", "deep/here.tif", {"model": "https://host/a.pth?sig=a, 'b$,,c"}],
        ],
    ),
    (
        "deep/tissue.csv",
        False,
        [
            ["a", "deep/here.tif", {"region": "deep/m.tif"}],
            ["b", "deep/here.tif", {"region": "0:1,2:9,3:8"}],
            ["c", "deep/here.tif", {"region": "s3://bucket/m.tif"}],
            ["d", "deep/here.tif", {"region": "plain.tif"}],
        ],
    ),
    (
        "urls.csv",
        False,
        [["a", "s3://bucket/a*.zarr", {}], ["b", "https://server/b.zarr?x=1", {}]],
    ),
    (
        "planes.csv",
        False,
        [
            ["a", "scan/p_*", {"stack": "TRUE"}],
            ["b", "scan", {"stack": "1"}],
            ["c", "plain.tif", {}],
        ],
    ),
    # and what is wrong with them
    (
        "missing.csv",
        False,
        f"missing.csv: no column sample; got the columns name, image; allowed: {WHERE}",
    ),
    (
        "other-named.csv",
        False,
        f"other-named.csv: no columns sample and image; got the columns sep=|; allowed: {WHERE}",
    ),
    ("broken.csv", False, 'broken.csv, line 2: a quote is not closed; got "a'),
    (
        "pipes.csv",
        False,
        f"pipes.csv: no columns sample and image; got the columns sample|image; allowed: {WHERE}",
    ),
    (
        "empty.csv",
        False,
        f"empty.csv: no columns sample and image; got no columns; allowed: {WHERE}",
    ),
    (
        "header-only.csv",
        False,
        "header-only.csv: names no image; check the pattern or the samplesheet",
    ),
    ("none.csv", False, "none.csv: there is no such samplesheet; check the path"),
    ("book.xlsx", False, "book.xlsx: is a workbook; save the sheet as CSV in UTF-8"),
    ("latin.csv", False, "latin.csv: is not text in UTF-8; save it as CSV in UTF-8"),
    (
        "unquoted.csv",
        False,
        "unquoted.csv, line 2: more cells than columns; got 2; put quotes around a cell that "
        "contains the separator",
    ),
    ("open.csv", False, 'open.csv, line 2: a quote is not closed; got "plain.tif'),
    ("nameless.csv", False, "nameless.csv, line 2: a cell in a column without a name; got x"),
    ("twice.csv", False, "twice.csv: several columns with the same name; got image"),
    ("blank.csv", False, "blank.csv, line 3: no image; fill in the columns sample and image"),
    (
        "outdir.csv",
        False,
        "outdir.csv, line 2: outdir cannot differ between samples; give it for the run",
    ),
    (
        "several.csv",
        False,
        "several.csv, line 2: names several images; got scan/p_*; allowed: one image, or planes of "
        "one with stack true",
    ),
    (
        "same.csv",
        False,
        "same.csv: several samples have the same name; got a; name each in a samplesheet",
    ),
    (
        "case.csv",
        False,
        "case.csv: several samples have the same name; got a, A; name each in a samplesheet",
    ),
    (
        "composed.csv",
        False,
        "composed.csv: several samples have the same name; got \u00e9, e\u0301; name each in a "
        "samplesheet",
    ),
    (
        "ours.csv",
        False,
        "plain.tif: cannot be the name of a sample; got labels.zarr, which this program uses "
        f"itself; {NAME}",
    ),
    *(
        (
            f"name{n}.csv",
            False,
            f"plain.tif: cannot be the name of a sample; got {name}; {PLAIN}; {NAME}",
        )
        for n, name in enumerate(("..", ".", "a/b", "a\\b", "it's", 'say "x"', "$(touch X)", "`x`"))
    ),
    (
        "name8.csv",
        False,
        "plain.tif: cannot be the name of a sample; got pipeline_info, which this program uses "
        f"itself; {NAME}",
    ),
    (
        "quoted",
        False,
        f"quoted/it's.tif: cannot be the name of a sample; got it's; {PLAIN}; {NAME}",
    ),
    ("a?b", False, "a?b: got 'a\\nb', allowed: no control characters"),
    (
        "",
        False,
        "input: nothing given, allowed: an image, a folder, a pattern in quotes or a samplesheet",
    ),
]


def write_inputs(folder: Path) -> None:
    """Write the files, empty but for the samplesheets."""
    for name in (*FILES, "deep/here.tif", "deep/m.csv", "deep/m.tif", "deep/inside/x"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).touch()
    for name, content in SHEETS.items():
        (folder / name).write_bytes(content)
