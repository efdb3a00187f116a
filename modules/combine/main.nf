include { quoted } from '../shell'

// Brings the summed flows of blocks to the image's grid, and smooths them.
process COMBINE {
    tag "${sample} ${task_number}"
    label 'blocks'

    input:
    tuple val(sample), val(task_number), path(plan), val(store), path(before), val(args)

    output:
    tuple val(sample), path("${task_number}.json")

    script:
    """
    terapose.py stage combine --plan ${plan} --store ${quoted(store)} --before ${before} --task ${task_number} \\
        --output ${task_number}.json ${args}
    """

    stub:
    """
    touch ${task_number}.json
    """
}
