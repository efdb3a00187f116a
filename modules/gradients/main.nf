include { quoted } from '../shell'

// Runs the network over slabs of planes of one orientation.
process GRADIENTS {
    tag "${sample} ${axis} ${task_number}"
    label 'network'

    input:
    tuple val(sample), val(axis), val(task_number), path(plan), val(store), path(before), path(model), path(image, stageAs: 'image*/*'), val(args)

    output:
    tuple val(sample), path("${task_number}.json")

    script:
    """
    terapose.py stage gradients --axis ${axis} --plan ${plan} --store ${quoted(store)} --before ${before} \\
        --model-file ${model} --task ${task_number} --output ${task_number}.json ${args}
    """

    stub:
    """
    touch ${task_number}.json
    """
}
