// From objects to cells: which are joined, which stay, which belong to a nucleus, and their numbers.

include { BLOCKS as OVERLAPS } from '../processes/blocks'
include { BLOCKS as VOIDS } from '../processes/blocks'
include { DECIDE as MATCH } from '../processes/decide'
include { DECIDE as PLANES } from '../processes/decide'
include { DECIDE as RELABEL } from '../processes/decide'
include { DECIDE as STITCH } from '../processes/decide'
include { GATHER as GATHER_VOIDS } from '../processes/gather'
include { MATCHES } from '../processes/matches'
include { after ; blocks ; decision ; gathering ; having ; nothing ; receipts ; scatter } from '../tasks'

workflow LABELS {
    take:
    runs
    found // [sample, summary] of the objects
    cells // [sample, labels.zarr, provenance.json] of the second network's cells, or nothing

    main:
    none = nothing(runs)

    // mode stitch: objects of planes become cells of the volume
    stitched = having(runs, 'overlaps')
    PLANES(decision(stitched, 'planes', found, none))
    OVERLAPS(blocks(stitched, 'overlaps', PLANES.out))
    STITCH(decision(stitched, 'stitch', PLANES.out, receipts(stitched, 'overlaps', OVERLAPS.out)))
    VOIDS(blocks(runs, 'voids', STITCH.out))
    GATHER_VOIDS(gathering(runs, 'voids', STITCH.out, VOIDS.out))

    RELABEL(decision(runs, 'relabel', after(runs, 'voids', found, GATHER_VOIDS.out), none))

    // cells of a second network: which of them is whose
    matched = having(runs, 'matches')
        .join(cells)
        .map { sample, run, labels, record -> tuple(sample, run + [cells: [labels, record]]) }
    MATCHES(
        scatter(matched, 'matches', RELABEL.out).map { run, job, summary -> tuple(job, run.plan, summary, run.cells) }
    )
    MATCH(decision(matched, 'match', RELABEL.out, receipts(matched, 'matches', MATCHES.out)))
    named = after(runs, 'matches', RELABEL.out, MATCH.out)

    emit:
    named
}
