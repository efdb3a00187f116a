include { quoted } from '../shell'

// Checks that every item of a stage has exactly one receipt: no silent holes.
process GATHER {
    tag "${job.sample} ${job.stage}"
    label 'gather'

    input:
    tuple val(job), path(plan), path(before), path(receipts, stageAs: 'receipts/*')

    output:
    tuple val(job.sample), path("${job.stage}.json")

    script:
    def before_option = before ? "--before ${quoted(before)}" : ''
    """
    terapose.py --threads ${task.cpus} stage gather --stage ${job.stage} --plan ${plan} --store ${quoted(job.store)} ${before_option} \\
        --output ${job.stage}.json ${job.args} receipts
    """

    stub:
    """
    touch ${job.stage}.json
    """
}
