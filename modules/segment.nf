// The whole of it, phase by phase. Stages that are scattered over blocks or slabs take their tasks from
// the plan; each gather waits for the receipts of all of them. A sample of which no stage has several
// tasks goes through all of them in one (WHOLE, in the last phase).

include { FLOWS } from './phases/flows'
include { LABELS } from './phases/labels'
include { NETWORK } from './phases/network'
include { PREPARE } from './phases/prepare'
include { RESULTS } from './phases/results'

workflow SEGMENT {
    take:
    sources // [source, what is given of it]; a source may hold several samples (modules/sources.nf)
    params_file // all parameters of the run, JSON
    outdir
    cells // [sample, labels.zarr, provenance.json] of the second network's cells, or nothing
    second // whether this is the run that finds those

    main:
    runs = PREPARE(sources, params_file, outdir, second)
    split = runs.filter { _sample, run -> !run.is_one_task }
    summed = NETWORK(split)
    found = FLOWS(split, summed)
    named = LABELS(split, found, cells)
    RESULTS(runs, named, outdir, second)

    emit:
    results = RESULTS.out.laid
    cells = RESULTS.out.cells
    stale = RESULTS.out.stale
    notes = RESULTS.out.notes
}
