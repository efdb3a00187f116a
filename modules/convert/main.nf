include { quoted } from '../shell'

// Copies planes of an image that cannot be read by region into the store.
process CONVERT {
    tag "${sample} ${task_number}"
    label 'blocks'

    input:
    tuple val(sample), val(task_number), path(plan), val(store), path(image, stageAs: 'image*/*')

    output:
    tuple val(sample), path("${task_number}.json")

    script:
    """
    terapose.py stage convert --plan ${plan} --store ${quoted(store)} --task ${task_number} \\
        --output ${task_number}.json
    """

    stub:
    """
    touch ${task_number}.json
    """
}
