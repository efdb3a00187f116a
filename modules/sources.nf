// What SEGMENT takes: the parameters of the run, and what is given of each image.

include { as_path } from './paths'
include { own_parameters ; is_true ; listed ; located_image ; refuse_doubled } from './samples'
include { absolute ; has_second ; own_beside ; own_networks ; own_read_once } from './settings'
include { refuse ; refuse_control ; refuse_folder } from './refusals'

// Stop where the workflow's own parameters, or the folders it runs in, cannot be used.
def check_parameters() {
    params.each { name, value -> refuse_control(name, value) }
    // Nextflow's value of an option that comes without one
    def empty = ['container', 'input', 'outdir'].find { name -> params[name].toString() == 'true' }
    if (empty) {
        refuse("${empty}: got no value, or true; allowed: a name")
    }
    def allowed = [
        publish_layout: ['sample', 'mcmicro'],
        publish_mode: ['copy', 'link', 'move', 'symlink', 'rellink'],
        single_task: ['true', 'false'],
    ]
    def wrong = allowed.find { name, values -> !(params[name].toString() in values) }
    if (wrong) {
        refuse("${wrong.key}: got ${params[wrong.key]}, allowed: ${wrong.value.join(', ')}")
    }
    if (params.simulate && !(params.simulate ==~ /0*[1-9]\d*(,0*[1-9]\d*){2}/)) {
        refuse("simulate: got ${params.simulate}, allowed: Z,Y,X in voxels, such as 48,160,160")
    }
    // services run nothing without an image, and are no engine to Nextflow
    def services = ['awsbatch', 'google_batch', 'google-batch', 'azurebatch', 'azure-batch', 'k8s']
    def engine = workflow.containerEngine ?: workflow.profile.tokenize(',').find { name -> name in services }
    if (engine && !workflow.container) {
        refuse("container: nothing given, allowed: an image that ${engine} can run (docs/hpc.md says how to make one)")
    }
    def engines = '-profile docker, podman, apptainer, singularity, charliecloud, or that of a cloud service'
    if (params.container && !engine) {
        refuse("container: got ${params.container}, and no profile that runs it; allowed: with ${engines}")
    }
    if ('rocm' in workflow.profile.tokenize(',') && engine) {
        refuse("profile rocm: images have no PyTorch for AMD GPUs; allowed: without ${engine}, in an environment with that build (docs/hpc.md)")
    }
    if ('wave' in workflow.profile.tokenize(',') && !engine) {
        refuse("profile wave: no profile that runs images; allowed: with ${engines}")
    }
    refuse_folder('the workflow', projectDir, /["`$\\:]/)
    refuse_folder('work-dir', workflow.workDir, /[{$]/)
}

// Whether the run makes its own image.
def simulating() {
    return params.simulate && !params.input
}

// The parameters of the run that go to `terapose check`.
def run_parameters() {
    def layout = params.publish_layout == 'mcmicro' ? [mask_tiff: 'cell.ome.tif', upscale: true] : [:]
    return layout + absolute(params.findAll { name, _value -> !(name in own_parameters()) })
}

// [sample, address, parameters of its own] of each image that the input names.
def named_images(given) {
    def images = simulating() ? [] : listed(params.input, is_true(given.stack))
    refuse_doubled(images, given.time)
    return images
}

// The folder of results that CHECK looks at. One of an object store is made by writing to it: there
// is nothing to check.
def checked_outdir() {
    return params.outdir.toString().contains('://') ? '' : as_path(params.outdir).toString()
}

// Whether cells are those of a second network in any of the samples.
def any_second(given, images) {
    return ([given] + images.collect { _name, _address, own -> own }).any { values -> has_second(values) }
}

// [source, what is given of it] of an image, for the first network, or for the second.
def source(name, address, own, given, second) {
    def all = given + own
    def networks = second ? all.cell_model ?: all.model : all.model
    return tuple(name, located_image(address) + [own: absolute(own), models: own_networks(networks), beside: own_beside(all), read_once: own_read_once(all)])
}
