include { quoted } from '../shell'

// Counts the pixels that nuclei share with the cells of a second network.
process MATCHES {
    tag "${sample} ${task_number}"
    label 'blocks'

    input:
    tuple val(sample), val(task_number), path(plan), val(store), path(before), path(labels, stageAs: 'cells/*'), path(record, stageAs: 'cells/*')

    output:
    tuple val(sample), path("${task_number}.json")

    script:
    """
    terapose.py stage matches --plan ${plan} --store ${quoted(store)} --before ${before} --task ${task_number} \\
        --cells cells --output ${task_number}.json
    """

    stub:
    """
    touch ${task_number}.json
    """
}
