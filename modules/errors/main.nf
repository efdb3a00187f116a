include { quoted } from '../shell'

// Finds the errors of the flows of whole objects.
process ERRORS {
    tag "${sample} ${task_number}"
    label 'blocks'

    input:
    tuple val(sample), val(task_number), path(plan), val(store), path(before), val(args)

    output:
    tuple val(sample), path("${task_number}.json")

    script:
    """
    terapose.py stage errors --plan ${plan} --store ${quoted(store)} --before ${before} --task ${task_number} \\
        --output ${task_number}.json ${args}
    """

    stub:
    """
    touch ${task_number}.json
    """
}
