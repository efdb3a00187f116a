include { quoted } from '../shell'

// Measures intensities and shapes of the cells of blocks.
process MEASURE {
    tag "${sample} ${task_number}"
    label 'blocks'

    input:
    tuple val(sample), val(task_number), path(plan), val(store), path(before), val(args), path(image, stageAs: 'image*/*')

    output:
    tuple val(sample), path("${task_number}.json")

    script:
    """
    terapose.py stage measure --plan ${plan} --store ${quoted(store)} --before ${before} --task ${task_number} \\
        --output ${task_number}.json ${args}
    """

    stub:
    """
    touch ${task_number}.json
    """
}
