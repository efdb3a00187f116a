// The whole of it on one page: what follows what. Stages that are scattered over blocks or slabs
// take their tasks from the plan; each gather waits for the receipts of all of them.

include { CHECK } from './check/main'
include { FETCH } from './fetch/main'
include { PLAN } from './plan/main'
include { CONVERT } from './convert/main'
include { INTENSITIES } from './intensities/main'
include { PERCENTILES } from './percentiles/main'
include { GRADIENTS as GRADIENTS_YX } from './gradients/main'
include { GRADIENTS as GRADIENTS_ZX } from './gradients/main'
include { GRADIENTS as GRADIENTS_ZY } from './gradients/main'
include { COMBINE } from './combine/main'
include { FOLLOW } from './follow/main'
include { PEAKS } from './peaks/main'
include { SEEDS } from './seeds/main'
include { MASKS } from './masks/main'
include { OBJECTS } from './objects/main'
include { ERRORS } from './errors/main'
include { PLANES } from './planes/main'
include { OVERLAPS } from './overlaps/main'
include { STITCH } from './stitch/main'
include { VOIDS } from './voids/main'
include { RELABEL } from './relabel/main'
include { MATCHES } from './matches/main'
include { MATCH } from './match/main'
include { EXPORT } from './export/main'
include { MEASURE } from './measure/main'
include { OUTLINES } from './outlines/main'
include { FINISH } from './finish/main'
include { PUBLISH } from './publish/main'
include { VERIFY } from './verify/main'
include { GATHER as GATHER_CONVERT } from './gather/main'
include { GATHER as GATHER_YX } from './gather/main'
include { GATHER as GATHER_ZX } from './gather/main'
include { GATHER as GATHER_ZY } from './gather/main'
include { GATHER as GATHER_COMBINE } from './gather/main'
include { GATHER as GATHER_FOLLOW } from './gather/main'
include { GATHER as GATHER_ERRORS } from './gather/main'
include { GATHER as GATHER_VOIDS } from './gather/main'

// The lines of a stage's table of tasks.
def rows(files, stage) {
    return files.find { table -> table.name == "${stage}.csv" }.splitCsv(header: true)
}

// What lies in a store of the notes of tasks whose results were damaged (bin/terapose/pipeline/repair.py).
def notes_of_damage(store) {
    def folder = store.resolve('again')
    return folder.exists() ? folder.listFiles().toList() : []
}

// The store's address for a task: another one, to Nextflow, each time its results were damaged, so
// that it runs again.
def renewed(store, files, task) {
    def note = files.find { file -> file.name == task }
    return note ? "${store}?again=${note.size()}" : store
}

// [sample, task, plan, store] for each task of a stage.
def scatter(planned, stage) {
    return planned.flatMap { sample, plan, store, files ->
        rows(files, stage).collect { row ->
            tuple(sample, row.task, plan, renewed(store, files, "${stage}.${row.task}"))
        }
    }
}

// [sample, plan, store] for a stage with one task.
def single(planned, stage) {
    return planned.map { sample, plan, store, files -> tuple(sample, plan, renewed(store, files, stage)) }
}

// [sample, receipts] once all receipts of a stage are in; a sample without tasks gives none.
def receipts(received, planned, stage) {
    return received
        .combine(planned.map { sample, _plan, _store, files -> tuple(sample, rows(files, stage).size()) }, by: 0)
        .map { sample, receipt, count -> tuple(groupKey(sample, count), receipt) }
        .groupTuple()
        .map { key, list -> tuple(key.toString(), list.toSorted { receipt -> receipt.name }) }
}

// What is known of a source, for each of its samples: itself, or its time points.
def of_samples(known, checked) {
    return known
        .combine(checked.map { row -> tuple(row.source, row.sample) }, by: 0)
        .map { fields -> [fields.last()] + fields.tail().init() }
}

// [sample, a stage's parameters as words of a command line].
def arguments(checked, stage) {
    return checked.map { row -> tuple(row.sample, row[stage]) }
}

// What GATHER takes, with the summary the stage came after and its parameters.
def gathering(received, planned, stage, before, args) {
    return planned
        .map { sample, plan, store, files ->
            tuple(sample, stage, plan, renewed(store, files, "gather.${stage}"))
        }
        .join(before)
        .join(args)
        .join(receipts(received, planned, stage))
}

// What is planned of the samples of which a stage has tasks.
def having(planned, stage) {
    return planned.filter { _sample, _plan, _store, files -> rows(files, stage) }
}

// [sample, summary] of those of which it has none: they go on with what came before.
def passing(planned, stage, before) {
    return planned
        .filter { _sample, _plan, _store, files -> rows(files, stage).isEmpty() }
        .map { sample, _plan, _store, _files -> tuple(sample) }
        .join(before)
}

// The notes in a record; a stub's is empty.
def notes_in(record) {
    def text = record.text
    return text ? new groovy.json.JsonSlurper().parseText(text).notes : []
}

// What GRADIENTS takes: [sample, axis, task, plan, store, before, model, image, args].
def passes(planned, axis, inputs) {
    return scatter(planned, "gradients-${axis}")
        .combine(inputs, by: 0)
        .map { fields -> [fields[0], axis] + fields.drop(1) }
}

workflow SEGMENT {
    take:
    sources // [source, address of the image, image to stage or []]; a source may hold several samples
    settings // [source, parameters of its own, files to stage or []: networks, table of markers, mask]
    params_file // all parameters of the run, JSON
    outdir
    cells // [sample, labels.zarr, provenance.json] of the second network's cells, or nothing
    second // whether this is the run that finds those

    main:
    asked = sources.join(settings).map { sample, address, image, own, models, beside ->
        tuple(sample, "${address}\n${groovy.json.JsonOutput.toJson(own)}".toString(), image, models, beside)
    }
    CHECK(asked, params_file, outdir, second)
    checked = CHECK.out.lines.splitCsv(header: true, sep: '\t')
    // what was understood of the image
    CHECK.out.said.filter { text -> text.trim() && !second }.map { text -> text.trim() }.view()
    samples = of_samples(sources, checked)
    images = samples.map { sample, _address, image -> tuple(sample, image) }
    none = checked.map { row -> tuple(row.sample, []) }
    no_args = checked.map { row -> tuple(row.sample, '') }

    given = of_samples(settings, checked)
    models = given.map { sample, _own, model, _beside -> tuple(sample, model) }
    beside = given.map { sample, _own, _model, files -> tuple(sample, files) }
    FETCH(checked.map { row -> tuple(row.sample, row.identity, row.fetch) }.join(models))
    // whose network it is, and under which licence: once
    FETCH.out.said.map { line -> line.trim() }.unique().view()
    PLAN(
        checked
            .map { row -> tuple(row.sample, row.plan, row.identity) }
            .join(images)
            .join(FETCH.out.network)
            .join(beside)
    )
    planned = PLAN.out.plan.join(PLAN.out.tasks).map { sample, plan, store, tables ->
        tuple(sample, plan, store.toUriString(), [tables].flatten() + notes_of_damage(store))
    }

    // an image that cannot be read by region is copied into the store first
    CONVERT(scatter(planned, 'convert').combine(images, by: 0))
    GATHER_CONVERT(gathering(CONVERT.out, planned, 'convert', none, no_args))
    converted = passing(planned, 'convert', none).mix(GATHER_CONVERT.out)

    INTENSITIES(scatter(planned, 'intensities').combine(images.join(converted), by: 0))
    PERCENTILES(single(planned, 'percentiles').join(images).join(converted).join(receipts(INTENSITIES.out, planned, 'intensities')))

    // each pass adds to the sum of the one before, so it waits for all of it; planes that stand by
    // themselves have the first one only
    network = FETCH.out.network.join(images).join(arguments(checked, 'gradients'))
    GRADIENTS_YX(passes(planned, 'yx', PERCENTILES.out.join(network)))
    GATHER_YX(gathering(GRADIENTS_YX.out, planned, 'gradients-yx', PERCENTILES.out, no_args))
    GRADIENTS_ZX(passes(planned, 'zx', GATHER_YX.out.join(network)))
    GATHER_ZX(gathering(GRADIENTS_ZX.out, planned, 'gradients-zx', GATHER_YX.out, no_args))
    GRADIENTS_ZY(passes(planned, 'zy', GATHER_ZX.out.join(network)))
    GATHER_ZY(gathering(GRADIENTS_ZY.out, planned, 'gradients-zy', GATHER_ZX.out, no_args))
    summed = passing(planned, 'gradients-zy', GATHER_YX.out).mix(GATHER_ZY.out)

    COMBINE(scatter(planned, 'combine').combine(summed.join(arguments(checked, 'combine')), by: 0))
    GATHER_COMBINE(gathering(COMBINE.out, planned, 'combine', summed, no_args))
    FOLLOW(scatter(planned, 'follow').combine(GATHER_COMBINE.out.join(arguments(checked, 'follow')), by: 0))
    GATHER_FOLLOW(gathering(FOLLOW.out, planned, 'follow', GATHER_COMBINE.out, no_args))

    PEAKS(scatter(planned, 'peaks').combine(GATHER_FOLLOW.out.join(no_args), by: 0))
    SEEDS(single(planned, 'seeds').join(GATHER_FOLLOW.out).join(no_args).join(receipts(PEAKS.out, planned, 'peaks')))
    MASKS(scatter(planned, 'masks').combine(SEEDS.out.join(no_args), by: 0))
    OBJECTS(single(planned, 'objects').join(SEEDS.out).join(arguments(checked, 'objects')).join(receipts(MASKS.out, planned, 'masks')))

    // errors of flows cost time, so they are found only where a threshold asks for them
    judged = planned.join(checked.filter { row -> row.errors }.map { row -> tuple(row.sample) })
    ERRORS(scatter(judged, 'errors').combine(OBJECTS.out.join(no_args), by: 0))
    GATHER_ERRORS(gathering(ERRORS.out, judged, 'errors', OBJECTS.out, no_args))
    found = checked
        .filter { row -> !row.errors }
        .map { row -> tuple(row.sample) }
        .join(OBJECTS.out)
        .mix(GATHER_ERRORS.out)

    // mode stitch: objects of planes become cells of the volume
    PLANES(single(having(planned, 'overlaps'), 'planes').join(found).join(arguments(checked, 'planes')))
    OVERLAPS(scatter(planned, 'overlaps').combine(PLANES.out.join(no_args), by: 0))
    STITCH(
        single(planned, 'stitch').join(PLANES.out).join(arguments(checked, 'stitch')).join(receipts(OVERLAPS.out, planned, 'overlaps'))
    )
    VOIDS(scatter(planned, 'voids').combine(STITCH.out.join(no_args), by: 0))
    GATHER_VOIDS(gathering(VOIDS.out, planned, 'voids', STITCH.out, no_args))

    RELABEL(
        single(planned, 'relabel').join(passing(planned, 'voids', found).mix(GATHER_VOIDS.out)).join(arguments(checked, 'relabel'))
    )

    // cells of a second network: which of them is whose
    matching = planned.join(checked.filter { row -> row.matches }.map { row -> tuple(row.sample) })
    MATCHES(scatter(matching, 'matches').combine(RELABEL.out.join(cells), by: 0))
    MATCH(single(planned, 'match').join(RELABEL.out).join(no_args).join(receipts(MATCHES.out, matching, 'matches')))
    named = checked
        .filter { row -> !row.matches }
        .map { row -> tuple(row.sample) }
        .join(RELABEL.out)
        .mix(MATCH.out)

    EXPORT(scatter(planned, 'export').combine(named.join(no_args), by: 0))
    // the table of cells needs the image once more, if anything of it is measured
    measuring = planned.join(checked.filter { row -> row.measures }.map { row -> tuple(row.sample) })
    MEASURE(
        scatter(measuring, 'measure').combine(named.join(arguments(checked, 'measure')).join(images), by: 0)
    )
    measured = receipts(MEASURE.out, measuring, 'measure').mix(
        checked.filter { row -> !row.measures }.map { row -> tuple(row.sample, []) }
    )
    tracing = planned.join(checked.filter { row -> row.outlines }.map { row -> tuple(row.sample) })
    OUTLINES(scatter(tracing, 'outlines').combine(named.join(no_args), by: 0))
    outlined = receipts(OUTLINES.out, tracing, 'outlines').mix(
        checked.filter { row -> !row.outlines }.map { row -> tuple(row.sample, []) }
    )
    FINISH(
        single(planned, 'finish')
            .join(named)
            .join(arguments(checked, 'finish'))
            .join(receipts(EXPORT.out, planned, 'export'))
            .join(measured)
            .join(outlined)
            .join(images)
    )
    laid = single(planned, 'finish')
        .join(FINISH.out.map { sample, labels, record, tables, others -> tuple(sample, [labels, record, tables, others].flatten()) })
        .map { sample, _plan, store, results -> tuple(sample, store, results) }
    // the cells of a second network are no results by themselves
    PUBLISH(laid.filter { !second })
    VERIFY(laid.filter { second })
    whole = PUBLISH.out.map { sample, _results -> tuple(sample) }.mix(VERIFY.out.map { sample -> tuple(sample) })

    emit:
    samples
    // files of an earlier run that this one does not write: they would be of other cells
    stale = FINISH.out
        .map { sample, _labels, _record, _tables, _others -> tuple(sample) }
        .join(checked.filter { row -> row.stale }.map { row -> tuple(row.sample, row.stale.tokenize(' ')) })
    // what the user should know of results that are complete
    notes = FINISH.out.flatMap { _sample, _labels, record, _tables, _others -> notes_in(record) }
    cells = FINISH.out.map { sample, labels, record, _tables, _others -> tuple(sample, labels, record) }.join(whole)
}
