include { quoted } from '../shell'

// Counts the intensities of blocks.
process INTENSITIES {
    tag "${sample} ${task_number}"
    label 'blocks'

    input:
    tuple val(sample), val(task_number), path(plan), val(store), path(image, stageAs: 'image*/*'), path(converted)

    output:
    tuple val(sample), path("${task_number}.json")

    script:
    """
    terapose.py stage intensities --plan ${plan} --store ${quoted(store)} --task ${task_number} \\
        --output ${task_number}.json
    """

    stub:
    """
    touch ${task_number}.json
    """
}
