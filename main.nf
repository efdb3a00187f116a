#!/usr/bin/env nextflow

include { SEGMENT } from './modules/segment'

// Parameters that steer the workflow itself; all others go to `terapose check` as they are.
def own_parameters() {
    return ['input', 'outdir', 'publish_mode']
}

// An image's name without what tells its format.
def sample_name(address) {
    return address.tokenize('/').last().replaceFirst(/(?i)(\.ome)?\.(zarr|tiff?|h5|hdf5)$/, '')
}

// [sample, address, file to stage]: local images are staged, so that containers can see them.
def sample(name, address) {
    def is_url = address.contains('://')
    def image = is_url ? [] : file(address, checkIfExists: false)
    return tuple(name, is_url ? address : image.toString(), is_url || !image.exists() ? [] : image)
}

workflow {
    main:
    samples = channel.fromList(listed(params.input)).map { name, address -> sample(name, address) }
    given = params.findAll { name, _value -> !(name in own_parameters()) }
    // a network's file of one's own: tasks run in folders of theirs, so its path has to be absolute
    own_model = local_file(given.model)
    if (own_model) {
        given = given + [model: own_model.toString()]
    }
    params_file = channel
        .of(groovy.json.JsonOutput.toJson(given))
        .collectFile(name: 'params.json')
        .first()

    // a folder of an object store is made by writing to it: nothing to check there
    def is_url = params.outdir.toString().contains('://')
    SEGMENT(samples, params_file, own_model ?: [], is_url ? '' : file(params.outdir).toString())

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

// The local file that a parameter names, or null.
def local_file(value) {
    if (!value || value.toString().contains('://')) {
        return null
    }
    def path = file(value.toString())
    return path.exists() ? path : null
}

// [sample, address] of each image the input names: an image, all that a glob matches, or those of
// a samplesheet.
def listed(input) {
    if (!input) {
        refuse('input: nothing given, allowed: an image, a glob or a samplesheet (CSV)')
    }
    def is_sheet = input.toString().endsWith('.csv')
    if (is_sheet && !file(input).exists()) {
        refuse("${input}: there is no such samplesheet; check the path")
    }
    def found = is_sheet
        ? file(input).splitCsv(header: true).collect { row -> [row.sample?.trim(), row.image?.trim()] }
        : files_of(input.toString()).collect { address -> [sample_name(address), address] }
    if (!found) {
        refuse("${input}: names no image; check the pattern or the samplesheet")
    }
    if (found.any { name, address -> !name || !address }) {
        refuse("${input}: a line lacks sample or image; allowed: columns sample,image, filled")
    }
    def strange = found.findAll { name, address -> name =~ /['\/\\]/ || address.contains("'") }
    if (strange) {
        refuse("${input}: no name for a sample; got ${strange[0]}; allowed: no quotes, no slash in sample")
    }
    def names = found.collect { name, _address -> name }
    def doubled = names.findAll { name -> names.count(name) > 1 }.unique()
    if (doubled) {
        refuse("${input}: samples of one name; got ${doubled.join(', ')}; name each in a samplesheet")
    }
    return found
}

// Stop with one sentence.
def refuse(sentence) {
    error("terapose: ${sentence}")
}

// The images an input names: one, or all that a glob matches.
def files_of(input) {
    if (!(input =~ /[*?{]/) || input.contains('://')) {
        return [input]
    }
    return files(input, type: 'any').collect { path -> path.toString() }.toSorted()
}
