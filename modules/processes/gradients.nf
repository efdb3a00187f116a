include { quoted } from '../shell'

// Runs the network over slabs of planes of one orientation, which the stage's name ends with.
process GRADIENTS {
    tag "${job.sample} ${job.stage - 'gradients-'} ${job.task}"
    label 'network'
    ext needs: { job.needs }

    input:
    tuple val(job), path(plan), path(before), path(model), path(image, stageAs: 'image*/*')

    output:
    tuple val(job.sample), path("${job.task}.json")

    script:
    def axis = job.stage - 'gradients-'
    """
    terapose.py --threads ${task.cpus} stage gradients --axis ${axis} --plan ${plan} --store ${quoted(job.store)} --before ${before} \\
        --model-file ${model} --task ${job.task} --output ${job.task}.json ${job.args}
    """

    stub:
    """
    touch ${job.task}.json
    """
}
