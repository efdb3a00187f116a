// Copies the label images into the image itself. Never cached: what was there may have been damaged or
// replaced since.
process ATTACH {
    tag "${sample}"
    label 'small'
    cache false

    input:
    tuple val(sample), path(results, stageAs: 'results/*'), path(_image, stageAs: 'image*/*'), val(args)

    output:
    val sample

    script:
    """
    terapose.py --threads ${task.cpus} stage attach results --output . ${args}
    """

    stub:
    """
    true
    """
}
