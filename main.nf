#!/usr/bin/env nextflow

include { LOOK } from './modules/look'
include { as_path } from './modules/paths'
include { hold } from './modules/lock'
include { SEGMENT } from './modules/segment'
include { SEGMENT as SEGMENT_CELLS } from './modules/segment'
include { SIMULATE } from './modules/simulate/main'
include { absolute ; has_second ; own_beside ; own_networks } from './modules/settings'
include { expect_samples ; said_of_failures } from './modules/failures'
include { is_true ; listed ; own_parameters ; refuse_doubled ; remove_stale ; sample } from './modules/samples'
include { refuse ; refuse_control ; refuse_folder } from './modules/shell'

workflow {
    main:
    check_parameters()
    given = absolute(params.findAll { name, _value -> !(name in own_parameters()) })
    if (params.simulate && !params.input) {
        SIMULATE(params.simulate)
        simulated = SIMULATE.out.map { image, _labels -> tuple('nuclei', image.toString(), [:]) }
        reference = SIMULATE.out.map { _image, labels -> tuple('nuclei', labels) }
    }
    else {
        simulated = channel.empty()
        reference = channel.empty()
    }
    given_images = params.simulate && !params.input ? [] : listed(params.input, is_true(given.stack))
    refuse_doubled(given_images, given.time)
    expect_samples(given, given_images)
    images = channel.fromList(given_images).mix(simulated)
    samples = images.map { name, address, _own -> sample(name, address) }
    if (params.publish_layout == 'mcmicro') {
        given = [mask_tiff: 'cell.ome.tif', upscale: true] + given
    }
    settings = images.map { name, _address, own ->
        tuple(name, absolute(own), own_networks(own.model ?: given.model), own_beside(given + own))
    }
    params_file = channel
        .of(groovy.json.JsonOutput.toJson(given))
        .collectFile(name: 'params.json')
        .first()

    // a folder of an object store is made by writing to it: nothing to check there
    def is_url = params.outdir.toString().contains('://')
    outdir = is_url ? '' : as_path(params.outdir).toString()
    if (([given] + given_images.collect { _name, _address, own -> own }).any { values -> has_second(values) }) {
        cell_settings = images.map { name, _address, own ->
            def all = given + own
            tuple(name, absolute(own), own_networks(all.cell_model ?: all.model), own_beside(all))
        }
        // what the second network finds goes to no folder of results, but to the nuclei
        SEGMENT_CELLS(samples, cell_settings, params_file, '', channel.empty(), true)
        cells = SEGMENT_CELLS.out.cells
    }
    else {
        cells = channel.empty()
    }
    release = hold(outdir)
    SEGMENT(samples, settings, params_file, outdir, cells, false)
    SEGMENT.out.stale.subscribe { name, files -> remove_stale(name, files) }
    finished = Collections.synchronizedList([])
    SEGMENT.out.cells.subscribe { name, _labels, _record -> finished.add(name) }
    notes = Collections.synchronizedList([])
    SEGMENT.out.notes.subscribe { note -> notes.add(note) }
    LOOK(SEGMENT.out.cells, SEGMENT.out.samples, reference)

    workflow.onComplete = {
        release.call()
        def failed = said_of_failures(finished.size())
        if (workflow.success && (finished || !failed)) {
            println("\nResults: ${as_path(params.outdir)}")
            notes.each { note -> println("WARNING: ${note}") }
        }
        if (failed || !workflow.success) {
            // the sentence of the stage that failed, last and alone; or those of the samples that did
            def said = (workflow.errorMessage ?: '').readLines().findAll { line -> line.startsWith('terapose: ') }
            def stopped = said ? said.last() : 'terapose: the run stopped: see .nextflow.log'
            def last_words = workflow.success ? failed : stopped
            // Nextflow has more to log after this: wait until it is really over
            Runtime.getRuntime().addShutdownHook(new Thread({ -> System.err.println("\n${last_words}") }))
        }
    }
}

// Stop where the workflow's own parameters, or the folders it runs in, cannot be used.
def check_parameters() {
    params.each { name, value -> refuse_control(name, value) }
    def allowed = [publish_layout: ['sample', 'mcmicro'], publish_mode: ['copy', 'link', 'symlink', 'rellink']]
    def wrong = allowed.find { name, values -> !(params[name] in values) }
    if (wrong) {
        refuse("${wrong.key}: got ${params[wrong.key]}, allowed: ${wrong.value.join(', ')}")
    }
    if (params.simulate && !(params.simulate ==~ /\d+,\d+,\d+/)) {
        refuse("simulate: got ${params.simulate}, allowed: Z,Y,X in voxels, such as 48,160,160")
    }
    refuse_folder('the workflow', projectDir, /["`$\\:]/)
    refuse_folder('work-dir', workflow.workDir, /[{$]/)
}
