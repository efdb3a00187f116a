// From objects to cells: which are joined, which stay, which belong to a nucleus, and their numbers.

include { BLOCKS as OVERLAPS ; BLOCKS as CELL_HOLES ; BLOCKS as PROCESS_CELLS } from '../processes/blocks'
include { DECIDE as MATCH ; DECIDE as FILTER_PLANES ; DECIDE as RELABEL ; DECIDE as STITCH } from '../processes/decide'
include { GATHER as GATHER_CELL_HOLES ; GATHER as GATHER_PROCESS_CELLS } from '../processes/gather'
include { CELL_OVERLAPS } from '../processes/cell_overlaps'
include { after ; asking ; blocks ; decision ; gathering ; having ; nothing ; receipts ; scatter } from '../tasks'

workflow LABELS {
    take:
    runs
    found // [sample, summary] of the objects
    cells // [sample, labels.zarr, provenance.json] of the second network's cells, or nothing

    main:
    none = nothing(runs)

    // mode stitch: objects of planes become cells of the volume
    stitched = asking(runs, 'filter_planes')
    FILTER_PLANES(decision(stitched, 'filter_planes', found, none))
    OVERLAPS(blocks(stitched, 'overlaps', FILTER_PLANES.out))
    STITCH(decision(stitched, 'stitch', FILTER_PLANES.out, receipts(stitched, 'overlaps', OVERLAPS.out)))
    CELL_HOLES(blocks(runs, 'cell_holes', STITCH.out))
    GATHER_CELL_HOLES(gathering(runs, 'cell_holes', STITCH.out, CELL_HOLES.out))

    RELABEL(decision(runs, 'relabel', after(runs, 'cell_holes', found, GATHER_CELL_HOLES.out), none))

    // a function of the user's makes cells of them
    PROCESS_CELLS(blocks(runs, 'process_cells', RELABEL.out))
    GATHER_PROCESS_CELLS(gathering(runs, 'process_cells', RELABEL.out, PROCESS_CELLS.out))
    numbered = after(runs, 'process_cells', RELABEL.out, GATHER_PROCESS_CELLS.out)

    // cells of a second network: which of them is whose
    matched = having(runs, 'cell_overlaps')
        .join(cells)
        .map { sample, run, labels, record -> tuple(sample, run + [cells: [labels, record]]) }
    CELL_OVERLAPS(
        scatter(matched, 'cell_overlaps', numbered).map { run, job, summary -> tuple(job, run.plan, summary, run.cells) }
    )
    MATCH(decision(matched, 'match', numbered, receipts(matched, 'cell_overlaps', CELL_OVERLAPS.out)))
    named = after(runs, 'cell_overlaps', numbered, MATCH.out)

    emit:
    named
}
