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
        simulated = SIMULATE.out.map { image, _labels -> tuple('nuclei', image.toString(), [:]) }
        reference = SIMULATE.out.map { _image, labels -> tuple('nuclei', labels) }
    }
    else {
        simulated = channel.empty()
        reference = channel.empty()
    }
    given_images = params.simulate && !params.input ? [] : listed(params.input)
    images = channel.fromList(given_images).mix(simulated)
    samples = images.map { name, address, _own -> sample(name, address) }
    given = absolute(params.findAll { name, _value -> !(name in own_parameters()) })
    if (params.publish_layout == 'mcmicro') {
        given = [mask_tiff: 'cell.ome.tif'] + given
    }
    settings = images.map { name, _address, own ->
        tuple(name, absolute(own), own_networks(own.model ?: given.model), own_markers(given + own))
    }
    params_file = channel
        .of(groovy.json.JsonOutput.toJson(given))
        .collectFile(name: 'params.json')
        .first()

    // a folder of an object store is made by writing to it: nothing to check there
    def is_url = params.outdir.toString().contains('://')
    outdir = is_url ? '' : file(params.outdir).toString()
    if (([given] + given_images.collect { _name, _address, own -> own }).any { values -> has_second(values) }) {
        cell_settings = images.map { name, _address, own ->
            def all = given + own
            tuple(name, absolute(own), own_networks(all.cell_model ?: all.model), own_markers(all))
        }
        // what the second network finds goes to no folder of results, but to the nuclei
        SEGMENT_CELLS(samples, cell_settings, params_file, '', channel.empty(), true)
        cells = SEGMENT_CELLS.out.cells
    }
    else {
        cells = channel.empty()
    }
    SEGMENT(samples, settings, params_file, outdir, cells, false)
    LOOK(SEGMENT.out.cells, SEGMENT.out.thumbnails, SEGMENT.out.samples, reference)

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

// The networks that a parameter names: a file, or several with commas between them.
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

// The local table of markers; staged, so that containers can see it.
def own_markers(values) {
    def table = local_file(values.markers)
    return table ? [table] : []
}

// Parameters whose files have absolute paths: tasks run in folders of theirs.
def absolute(values) {
    def networks = ['model', 'cell_model']
        .findAll { name -> own_networks(values[name]) }
        .collectEntries { name ->
            [name, listed_networks(values[name]).collect { one -> local_file(one) ?: one }.join(',')]
        }
    def markers = local_file(values.markers)
    return values + networks + (markers ? [markers: markers.toString()] : [:])
}

// Whether these parameters ask for the cells of a second network.
def has_second(values) {
    return values.any { name, value -> name.startsWith('cell_') && value }
}

// The local file that a parameter names, or null.
def local_file(value) {
    if (!value || value.toString().contains('://')) {
        return null
    }
    def path = file(value.toString())
    return path.exists() ? path : null
}
