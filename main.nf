#!/usr/bin/env nextflow

include { LOOK } from './modules/look'
include { SEGMENT } from './modules/segment'
include { SIMULATE } from './modules/simulate/main'
include { listed ; sample } from './modules/samples'

// Parameters that steer the workflow itself; all others go to `terapose check` as they are.
def own_parameters() {
    return ['input', 'outdir', 'publish_mode', 'simulate']
}

workflow {
    main:
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
    settings = images.map { name, _address, own -> tuple(name, absolute(own), model_file(own, given)) }
    params_file = channel
        .of(groovy.json.JsonOutput.toJson(given))
        .collectFile(name: 'params.json')
        .first()

    // a folder of an object store is made by writing to it: nothing to check there
    def is_url = params.outdir.toString().contains('://')
    SEGMENT(samples, settings, params_file, is_url ? '' : file(params.outdir).toString())
    levels = settings.map { name, own, _model -> tuple(name, own.level ?: params.level) }
    LOOK(SEGMENT.out.labels, samples, levels, reference)

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

// Parameters whose files have absolute paths: tasks run in folders of theirs.
def absolute(values) {
    return values + ['model', 'markers']
        .collectEntries { name -> [name, local_file(values[name])?.toString()] }
        .findAll { _name, path -> path }
}

// The network's file of a sample, if it is a file of one's own, else [].
def model_file(own, given) {
    return local_file(own.model ?: given.model) ?: []
}

// The local file that a parameter names, or null.
def local_file(value) {
    if (!value || value.toString().contains('://')) {
        return null
    }
    def path = file(value.toString())
    return path.exists() ? path : null
}
