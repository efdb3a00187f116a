#!/usr/bin/env nextflow

include { LOOK } from './modules/look'
include { SEGMENT } from './modules/segment'
include { SEGMENT as SEGMENT_CELLS } from './modules/segment'
include { SIMULATE } from './modules/simulate/main'
include { listed ; refuse ; sample } from './modules/samples'

// Parameters that steer the workflow itself; all others go to `terapose check` as they are.
def own_parameters() {
    return ['input', 'outdir', 'publish_layout', 'publish_mode', 'simulate']
}

workflow {
    main:
    if (!(params.publish_layout in ['sample', 'mcmicro'])) {
        refuse("publish_layout: got ${params.publish_layout}, allowed: sample, mcmicro")
    }
    if (params.simulate && !params.input) {
        SIMULATE(params.simulate)
        simulated = SIMULATE.out.map { image, _labels -> sample('nuclei', image.toString()) }
        reference = SIMULATE.out.map { _image, labels -> tuple('nuclei', labels) }
    }
    else {
        simulated = channel.empty()
        reference = channel.empty()
    }
    given_images = params.simulate && !params.input ? [] : listed(params.input)
    samples = channel.fromList(given_images).map { name, address -> sample(name, address) }.mix(simulated)
    given = params.findAll { name, _value -> !(name in own_parameters()) }
    // files of one's own: tasks run in folders of theirs, so their paths have to be absolute
    own_models = own_networks(given.model)
    own_cell_models = own_networks(given.cell_model)
    given = given + absolute(given, 'model') + absolute(given, 'cell_model')
    own_markers = local_file(given.markers)
    if (own_markers) {
        given = given + [markers: own_markers.toString()]
    }
    if (params.publish_layout == 'mcmicro') {
        given = [mask_tiff: 'cell.ome.tif'] + given
    }
    params_file = channel
        .of(groovy.json.JsonOutput.toJson(given))
        .collectFile(name: 'params.json')
        .first()

    // a folder of an object store is made by writing to it: nothing to check there
    def is_url = params.outdir.toString().contains('://')
    outdir = is_url ? '' : file(params.outdir).toString()
    if (given.any { name, value -> name.startsWith('cell_') && value }) {
        // what the second network finds goes to no folder of results, but to the nuclei
        SEGMENT_CELLS(samples, params_file, own_cell_models ?: own_models, '', channel.empty(), true)
        cells = SEGMENT_CELLS.out.cells
    }
    else {
        cells = channel.empty()
    }
    SEGMENT(samples, params_file, own_models, outdir, cells, false)
    LOOK(SEGMENT.out.labels, samples, reference)

    workflow.onComplete = {
        if (workflow.success) {
            println("\nResults: ${file(params.outdir)}")
        }
        else {
            // the sentence of the stage that failed, last and alone
            def said = (workflow.errorMessage ?: '').readLines().findAll { line -> line.startsWith('terapose: ') }
            def last_words = said ? said.last() : 'terapose: the run stopped: see .nextflow.log'
            // Nextflow has more to log after this: wait until it is really over
            Runtime.getRuntime().addShutdownHook(new Thread({ -> System.err.println("\n${last_words}") }))
        }
    }
}

// The networks that the parameter names: a file, or several with commas between them.
def listed_networks(value) {
    if (!value || local_file(value)) {
        return value ? [value] : []
    }
    return value.toString().tokenize(',').collect { name -> name.trim() }
}

// The local files among them.
def own_networks(value) {
    return listed_networks(value).collect { name -> local_file(name) }.findAll { path -> path }
}

// The parameter with the paths of local files as they are from anywhere; nothing if it has none.
def absolute(given, name) {
    def networks = listed_networks(given[name])
    return own_networks(given[name]) ? [(name): networks.collect { one -> local_file(one) ?: one }.join(',')] : [:]
}

// The local file that a parameter names, or null.
def local_file(value) {
    if (!value || value.toString().contains('://')) {
        return null
    }
    def path = file(value.toString())
    return path.exists() ? path : null
}
