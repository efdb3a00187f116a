// From the cells' numbers to files: the label image, the table of cells and what goes with them.

include { BLOCKS as EXPORT ; BLOCKS as MEASURE ; BLOCKS as OUTLINES } from '../processes/blocks'
include { FINISH } from '../processes/finish'
include { PUBLISH } from '../processes/publish'
include { VERIFY } from '../processes/verify'
include { WHOLE } from '../processes/whole'
include { blocks ; in_one_task ; job ; receipts } from '../tasks'

workflow RESULTS {
    take:
    runs
    named // [sample, summary] of the cells and their numbers
    outdir
    second // whether these are the cells of a second network: no results by themselves

    main:
    EXPORT(blocks(runs, 'export', named))
    // the table of cells needs the image once more, if anything of it is measured
    MEASURE(blocks(runs, 'measure', named))
    OUTLINES(blocks(runs, 'outlines', named))
    FINISH(
        runs
            .join(named)
            .join(receipts(runs, 'export', EXPORT.out))
            .join(receipts(runs, 'measure', MEASURE.out))
            .join(receipts(runs, 'outlines', OUTLINES.out))
            .map { _sample, run, summary, exported, measured, outlined ->
                tuple(job(run, 'finish'), run.plan, summary, exported, measured, outlined, run.image)
            }
    )
    WHOLE(in_one_task(runs))
    found = FINISH.out.cells.mix(WHOLE.out.cells)
    laid = runs.join(FINISH.out.files.mix(WHOLE.out.files))
    compared = laid.join(named.mix(WHOLE.out.summary)).map { sample, run, files, summary ->
        tuple(sample, job(run, 'finish').store, run.plan, summary, files)
    }
    PUBLISH(compared.filter { !second }, outdir)
    VERIFY(compared.filter { second })
    verified = PUBLISH.out.map { sample, _results -> tuple(sample) }.mix(VERIFY.out.map { sample -> tuple(sample) })

    emit:
    // [sample, run, files of the results], once these are whole
    laid = laid.join(verified)
    cells = found.join(verified)
    // [sample, names of files of an earlier run]
    stale = runs
        .filter { _sample, run -> run.stale }
        .join(found)
        .map { sample, run, _labels, _record -> tuple(sample, run.stale) }
    // what the user should know of results that are complete
    notes = found.flatMap { _sample, _labels, record -> notes_in(record) }
}

// The notes in a record; a stub's is empty.
def notes_in(record) {
    def text = record.text
    return text ? new groovy.json.JsonSlurper().parseText(text).notes : []
}
