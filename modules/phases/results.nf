// From the cells' numbers to files: the label image, the table of cells and what goes with them.

include { file_of } from '../outdir'
include { done_of ; faults_of ; of_sample ; pack_of ; together ; with_results } from '../packs'
include { BLOCKS as EXPORT ; BLOCKS as MEASURE ; BLOCKS as OUTLINES } from '../processes/blocks'
include { FINISH } from '../processes/finish'
include { PUBLISH } from '../processes/publish'
include { REFUSE } from '../processes/refuse'
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
    whole = WHOLE.out.flatMap { jobs, files, summaries, faults, _complete ->
        done_of(jobs, with_results(summaries, files), faults).collect { sample, n, pack ->
            tuple(sample, pack, of_sample(files, n), of_sample(summaries, n)[0])
        }
    }
    finished = FINISH.out.map { sample, files -> tuple(sample, pack_of([sample]), files) }
    found = runs
        .join(finished.mix(whole.map { all -> all.take(3) }))
        .map { sample, run, pack, files -> tuple(sample, run + [pack: pack], files) }
    compared = found.join(named.mix(whole.map { sample, _pack, _files, summary -> tuple(sample, summary) }))
    PUBLISH(together(compared).filter { !second }.map { pack -> publishing(pack) }, outdir)
    VERIFY(
        compared.filter { second }.map { sample, run, files, summary ->
            tuple(sample, job(run, 'finish').store, run.plan, summary, files)
        }
    )
    verified = PUBLISH.out
        .flatMap { jobs, files, faults, _complete -> done_of(jobs, files, faults) }
        .map { sample, _n, pack -> tuple(sample, pack) }
        .mix(VERIFY.out.map { sample -> tuple(sample, pack_of([sample])) })
    REFUSE(
        WHOLE.out
            .map { jobs, files, summaries, faults, complete -> tuple(jobs, with_results(summaries, files), faults, complete) }
            .mix(PUBLISH.out)
            .flatMap { jobs, left, faults, complete -> faults_of(jobs, left, faults, complete) }
    )
    laid = found.join(verified).map { sample, run, files, pack -> tuple(sample, run + [pack: pack], files) }
    cells = laid.map { sample, _run, files -> tuple(sample, file_of(files, 'labels.zarr'), file_of(files, 'provenance.json')) }

    emit:
    // [sample, run, files of the results], once these are whole
    laid
    cells
    // [sample, names of files of an earlier run]
    stale = laid.filter { _sample, run, _files -> run.stale }.map { sample, run, _files -> tuple(sample, run.stale) }
    // what the user should know of results that are complete
    notes = cells.flatMap { _sample, _labels, record -> notes_in(record) }
}

// What PUBLISH takes of samples: [sample, run, files, summary] of each.
def publishing(pack) {
    def jobs = pack.collect { sample, run, files, summary ->
        [sample: sample, store: job(run, 'finish').store, files: files.size(), before: summary.name]
    }
    return tuple(
        jobs,
        pack.collect { _sample, run, _files, _summary -> run.plan },
        pack.collect { _sample, _run, _files, summary -> summary },
        pack.collectMany { _sample, _run, files, _summary -> files }
    )
}

// The notes in a record; a stub's is empty.
def notes_in(record) {
    def text = record.text
    return text ? new groovy.json.JsonSlurper().parseText(text).notes : []
}
