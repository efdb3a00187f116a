"""The faults that `benchmarks.faults` puts into the code, one at a time, and who should notice.

Each is a mistake that somebody could make in one place. The tests are the cheapest that notice it.
"""

from __future__ import annotations

from benchmarks.fault import Fault

STORE = "tests/io/test_store.py::test_"
OWN = "tests/io/test_own_files.py::test_"
MASKING = "tests/core/test_masking.py::test_"
JOB = "tests/pipeline/test_job.py::test_"
LOCK = "tests/io/test_lock.py::test_"
DAMAGE = "tests/results/test_damage.py::test_"
SINKS = "tests/equivalence/test_sinks.py::test_"
MARGINS = "tests/pipeline/test_margins.py::test_"
WRITTEN = """\
            yield place
            point(f"{what}: before it is renamed")
            place.replace(path)
"""
WRITTEN_LATE = """\
            place.touch()
            place.replace(path)
            yield path
"""
ASIDE = """\
        with written(target, _kind(name), anything=True) as place:
            place.write_bytes(data)
"""
MARKED = """\
                result = work()
                self.confirm_image()
                self.store.put_json(name, {"done": result})
"""
MARKED_EARLY = """\
                self.store.put_json(name, {"done": None})
                result = work()
                self.confirm_image()
"""

FAULTS = (
    Fault(
        "the checksum of a blob is not compared",
        "io/checksums.py",
        "if _seal(content, name) != seal:",
        "if len(seal) != _SIZE:",
        (f"{STORE}damaged_blobs_are_faults",),
    ),
    Fault(
        "the checksum of a document is not compared",
        "io/checksums.py",
        'if seal != f"{_of_document(document, name):08x}":',
        "if not seal:",
        (
            f"{STORE}damaged_blobs_are_faults",
            f"{STORE}damaged_metadata_are_made_again_by_who_writes",
        ),
    ),
    Fault(
        "chunks on a disk have no checksum",
        "io/store/local_arrays.py",
        'return unframed(data, f"{self.place}/{key}", f"{self.address}/{file.key}")',
        "return data[:-4]",
        (f"{STORE}a_damaged_chunk_is_named",),
    ),
    Fault(
        "the table of a pack of chunks has no checksum",
        "io/store/local_arrays.py",
        'np.frombuffer(unframed(content, f"{self.place}/{file.key}#", where), _PLACE)',
        "np.frombuffer(content[:-4], _PLACE)",
        ("tests/io/test_packs.py::test_one_changed_bit_is_found",),
    ),
    Fault(
        "chunks on an object store have no checksum",
        "io/zarr_files.py",
        'content = unframed(found.to_bytes(), f"{self._name}/{key}", f"{self._address}/{key}")',
        "content = found.to_bytes()[:-4]",
        (f"{STORE}a_damaged_chunk_is_named",),
    ),
    Fault(
        "the checksum of a chunk ignores its name",
        "io/checksums.py",
        "crc32c(data, crc32c(name.encode(), _START))",
        "crc32c(data, _START)",
        (f"{STORE}no_file_takes_the_place_of_another",),
    ),
    Fault(
        "a missing chunk is read as zeros",
        "io/zarr_files.py",
        "super().__init__(store, complete=True)",
        "super().__init__(store, complete=False)",
        (f"{STORE}a_missing_chunk_is_a_fault_not_zeros",),
    ),
    Fault(
        "chunks of zeros are not written",
        "io/zarr_files.py",
        '{"write_empty_chunks": True}',
        '{"write_empty_chunks": False}',
        (f"{STORE}chunks_of_zeros_are_written",),
    ),
    Fault(
        "two tasks may write to one chunk",
        "io/store/chunks.py",
        " and (b == length or any(b % n == 0 for n in edges))",
        "",
        (f"{STORE}a_write_that_cuts_a_chunk_is_refused",),
    ),
    Fault(
        "a blob is seen while it is written",
        "io/store/store.py",
        ASIDE,
        "        target.write_bytes(data)\n",
        (f"{STORE}a_blob_is_there_whole_or_not_at_all",),
    ),
    Fault(
        "what was written aside is listed",
        "io/store/store.py",
        " for name in last if not name.endswith(ASIDE))",
        " for name in last)",
        (f"{STORE}what_is_written_aside_is_not_listed",),
    ),
    Fault(
        "a link in the place of a file of the store is followed",
        "io/own_files.py",
        'mode = os.lstat(f"{root}/{name}").st_mode',
        'mode = os.stat(f"{root}/{name}").st_mode',
        (f"{OWN}what_has_the_name_of_a_file",),
    ),
    Fault(
        "a link in the place of a folder of the store is followed",
        "io/own_files.py",
        "(os.stat if folder == root else os.lstat)(folder)",
        "os.stat(folder)",
        (f"{OWN}nothing_is_done_behind_a_link",),
    ),
    Fault(
        "a file gets its name before it is written",
        "io/files.py",
        WRITTEN,
        WRITTEN_LATE,
        ("tests/io/test_files.py",),
    ),
    Fault(
        "a receipt that is missing is passed over",
        "pipeline/running.py",
        "    if missing:\n",
        "    if len(missing) == count:\n",
        (f"{JOB}a_gather_refuses_what_is_not_whole",),
    ),
    Fault(
        "receipts are taken in the order in which tasks ended",
        "pipeline/running.py",
        'ordered = sorted(receipts, key=lambda r: r["items"])',
        "ordered = list(receipts)",
        (f"{JOB}a_gather_takes_receipts_in_any_order",),
    ),
    Fault(
        "the marker comes before the data",
        "pipeline/job.py",
        MARKED,
        MARKED_EARLY,
        (f"{JOB}a_slower_twin_takes_what_the_faster_one_left",),
    ),
    Fault(
        "the marker of a duplicate task is not looked for",
        "pipeline/job.py",
        "            raise AlreadyDoneError\n",
        "            return\n",
        (f"{JOB}each_item_is_done_once",),
    ),
    Fault(
        "the key lacks the stage's parameters",
        "pipeline/job.py",
        "return key_of(stage, STAGES[stage].code, shaping(params), before)",
        "return key_of(stage, STAGES[stage].code, before)",
        (f"{JOB}keys_follow_what_shapes_a_result",),
    ),
    Fault(
        "the image is not compared at the end of a task",
        "pipeline/running.py",
        "            return done\n        job.confirm_image()\n",
        "            return done\n",
        ("tests/results/test_image_swapped.py::test_swapped_while_it_is_read[zarr-in measure]",),
    ),
    Fault(
        "who wrote what is damaged is not forgotten",
        "pipeline/repair.py",
        '            store.drop(f"{markers}/task-{task}.json")\n',
        "            pass\n",
        (f"{DAMAGE}what_is_damaged_is_made_again[ends-zeros]",),
    ),
    Fault(
        "labels are not verified before they are published",
        "results/publishing.py",
        "    ensure(job)\n    wrong = _wrong(job, written)\n",
        "    ensure(job)\n    wrong: list[int] = []\n",
        (f"{DAMAGE}what_is_damaged_is_made_again[final labels-flipped]",),
    ),
    Fault(
        "the copy of the labels is not verified",
        "results/publishing.py",
        "    wrong = checks.faults(target)\n",
        "    wrong: list[str] = []\n",
        (f"{DAMAGE}a_copy_that_differs_is_no_result",),
    ),
    Fault(
        "metadata of results are not compared",
        "results/publishing.py",
        "            if one != other:\n                wrong.append(what)\n",
        "            if one != other and not what:\n                wrong.append(what)\n",
        (f"{DAMAGE}results_that_are_there_outlive_the_store",),
    ),
    Fault(
        "the record comes before the results",
        "stages/finish.py",
        "(*(n for n in names if n != RECORD), RECORD)",
        "(RECORD, *(n for n in names if n != RECORD))",
        ("tests/results/test_publishing.py",),
    ),
    Fault(
        "a record may name any file to be removed",
        "results/outputs.py",
        "if isinstance(name, str) and self.pattern.fullmatch(name)]",
        "if isinstance(name, str)]",
        (
            "tests/results/test_earlier.py::test_only_files_of_this_program_in_this_folder_are_removed",
        ),
    ),
    Fault(
        "two runs make the lock",
        "io/lock.py",
        "os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644",
        "os.O_CREAT | os.O_WRONLY, 0o644",
        (f"{LOCK}a_folder_is_held_by_one",),
    ),
    Fault(
        "the lock of a process whose number was given again holds for ever",
        "io/lock.py",
        'return started is None or started != holder.get("started")',
        "return started is None",
        (f"{LOCK}a_number_that_another_process_got_is_told_from_the_first",),
    ),
    Fault(
        "the lock of another machine holds for ever",
        "io/lock.py",
        "    return age() > PATIENCE\n",
        "    return False\n",
        (f"{LOCK}a_run_elsewhere_holds_as_long_as_it_touches_the_file",),
    ),
    Fault(
        "percentiles are those of a part",
        "intermediates/normalizing/histograms.py",
        "    for result in results:\n        found = unpack",
        "    for result in results[:1]:\n        found = unpack",
        ("tests/algorithms/test_intensity.py::test_percentiles_are_exact",),
    ),
    Fault(
        "tiles are added column by column",
        "networks/tile_grid.py",
        "[(y, x) for y in self.starts[0] for x in self.starts[1]]",
        "[(y, x) for x in self.starts[1] for y in self.starts[0]]",
        ("tests/equivalence/test_tiles.py::test_the_network_over_planes",),
    ),
    Fault(
        "the tiles of a slab begin at the slab",
        "networks/tiling.py",
        "    layout = Layout.of(shape or planes.shape[2:], region, tile, overlap, "
        "augment=augment)\n",
        "    if region:\n"
        "        shape = (region[0][1] - region[0][0], region[1][1] - region[1][0])\n"
        "        planes = planes[..., : shape[0], : shape[1]]\n"
        "    layout = Layout.of(planes.shape[2:], None, tile, overlap, augment=augment)\n",
        ("tests/equivalence/test_tiles.py::test_rectangles_of_a_plane_are_parts_of_the_whole",),
    ),
    Fault(
        "the halo of smoothing is one too small",
        "stages/combine.py",
        "(int(4.0 * s + 0.5) for s in sigmas(smooth))",
        "(int(4.0 * s) for s in sigmas(smooth))",
        ("tests/equivalence/test_stages.py::test_resized_and_smoothed_flows",),
    ),
    Fault(
        "a point that leaves what was read goes on with zeros",
        "algorithms/flows/sampling.py",
        "return (-1 if origin == 0 else 0), (size if origin + size == length else size - 2)",
        "return -1, size",
        ("tests/equivalence/test_kernels.py::test_a_box_gives_the_same_end_points_or_says_lost",),
    ),
    Fault(
        "a voxel that steps leave is a sink",
        "algorithms/flows/balls.py",
        "hull[0, a] >= low[a] + margin and hull[1, a] <= high[a] - margin",
        "hull[0, a] >= low[a] - 1.0 and hull[1, a] <= high[a] + 1.0",
        (f"{SINKS}ends_are_those_of_all_steps",),
    ),
    Fault(
        "a sink takes points that may not reach its voxel in time",
        "algorithms/flows/sinks.py",
        " and square * decay[np.int64(row[KIND])] <= row[ROOM]",
        "",
        (f"{SINKS}ends_are_those_of_all_steps",),
    ),
    Fault(
        "a point that goes between two places ends in either",
        "algorithms/flows/walk.py",
        "left % (4 if t < _LATE else 8) == 0",
        "left >= 0",
        (f"{SINKS}points_that_go_between_two_places",),
    ),
    Fault(
        "the margin of end points is one too small",
        "stages/peaks.py",
        "margin = reach(plan.grid, farthest, core, PEAK)",
        "margin = reach(plan.grid, farthest, core, PEAK - 1)",
        (f"{MARGINS}the_farthest_point_counts",),
    ),
    Fault(
        "the window of seeds is one too small",
        "stages/peaks.py",
        "seen = plan.around(core, PEAK)",
        "seen = plan.around(core, PEAK - 1)",
        (f"{MARGINS}the_farthest_point_counts",),
    ),
    Fault(
        "the margin of objects is one too small",
        "stages/masks.py",
        "reach(plan.grid, farthest, core, GROWTH))",
        "reach(plan.grid, farthest, core, GROWTH - 1))",
        (f"{MARGINS}the_farthest_voxel_is_part_of_its_object",),
    ),
    Fault(
        "seeds of one height are left to an unstable sort",
        "stages/masks.py",
        "rank[np.lexsort((ids, counts))] = np.arange(len(ids))",
        "rank[np.argsort(counts)] = np.arange(len(ids))",
        (f"{MARGINS}of_equal_seeds_the_later_one_wins",),
    ),
    Fault(
        "seeds are numbered in the order of tasks",
        "io/store/long_tables.py",
        'order = np.argsort(rows[self._key], kind="stable")',
        "order = np.arange(len(rows[self._key]))",
        ("tests/io/test_parts.py::test_rows_by_block",),
    ),
    Fault(
        "objects of planes are not compared across blocks",
        "stages/overlaps.py",
        "(core.stop[0] + 1, *core.stop[1:])",
        "core.stop",
        ("tests/equivalence/test_exactness.py",),
    ),
    Fault(
        "cells that have grown are measured in the box of their nucleus",
        "intermediates/cells.py",
        'np.minimum(cells[f"{axis}1"] + margin, length)',
        'np.minimum(cells[f"{axis}1"], length)',
        ("tests/algorithms/test_measure.py::test_nuclei_become_cells_with_cytoplasm",),
    ),
    Fault(
        "the pyramid keeps other voxels than multiples of the factor",
        "io/labels/ome_zarr.py",
        "slice(-s % f, None, f)",
        "slice(s % f, None, f)",
        ("tests/io/test_labels.py::test_blocks_downsample_as_the_whole",),
    ),
    Fault(
        "a password ends at its first @",
        "core/masking.py",
        'return begin + found[2].rindex("@")',
        'return begin + found[2].index("@")',
        (f"{MASKING}hidden",),
    ),
    Fault(
        "credentials in addresses within addresses are shown",
        "core/masking.py",
        "if _is_secret(found[1]) or _has_secret(value):",
        "if _is_secret(found[1]):",
        (f"{MASKING}hidden",),
    ),
)
