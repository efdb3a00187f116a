include { quoted } from '../shell'

// A stage with a single task, which decides what only all of a sample can tell. It is included under
// the name of each such stage; which of them it is stands in the job.
process DECIDE {
    tag "${job.sample}"
    label 'gather'

    input:
    tuple val(job), path(plan), path(before), path(receipts, stageAs: 'receipts/*'), path(image, stageAs: 'image*/*')

    output:
    tuple val(job.sample), path("${job.stage}.json")

    script:
    def before_option = before ? "--before ${quoted(before)}" : ''
    def receipts_folder = receipts ? 'receipts' : ''
    """
    terapose.py --threads ${task.cpus} stage ${job.stage} --plan ${plan} --store ${quoted(job.store)} ${before_option} \\
        --output ${job.stage}.json ${job.args} ${receipts_folder}
    """

    stub:
    """
    touch ${job.stage}.json
    """
}
