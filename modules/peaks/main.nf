include { quoted } from '../shell'

// Counts end points and finds the seeds of blocks.
process PEAKS {
    tag "${sample} ${task_number}"
    label 'blocks'

    input:
    tuple val(sample), val(task_number), path(plan), val(store), path(before), val(args)

    output:
    tuple val(sample), path("${task_number}.json")

    script:
    """
    terapose.py stage peaks --plan ${plan} --store ${quoted(store)} --before ${before} --task ${task_number} \\
        --output ${task_number}.json ${args}
    """

    stub:
    """
    touch ${task_number}.json
    """
}
