include { quoted } from '../shell'

// One task of a stage that is cut into blocks, regions or runs of planes, on CPUs. It is included
// under the name of each such stage; which of them it is stands in the job, beside its task.
process BLOCKS {
    tag "${job.sample} ${job.task}"
    label 'blocks'
    ext needs: { job.needs }

    input:
    tuple val(job), path(plan), path(before), path(image, stageAs: 'image*/*')

    output:
    tuple val(job.sample), path("${job.task}.json")

    script:
    def before_option = before ? "--before ${quoted(before)}" : ''
    """
    terapose.py --threads ${task.cpus} stage ${job.stage} --plan ${plan} --store ${quoted(job.store)} ${before_option} --task ${job.task} \\
        --output ${job.task}.json ${job.args}
    """

    stub:
    """
    touch ${job.task}.json
    """
}
