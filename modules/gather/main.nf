include { quoted } from '../shell'

// Checks that every item of a stage has exactly one receipt: no silent holes.
process GATHER {
    tag "${sample} ${stage}"
    label 'gather'

    input:
    tuple val(sample), val(stage), path(plan), val(store), path(before), val(args), path(receipts, stageAs: 'receipts/*')

    output:
    tuple val(sample), path("${stage}.json")

    script:
    def before_option = before ? "--before ${quoted(before)}" : ''
    """
    terapose.py stage gather --stage ${stage} --plan ${plan} --store ${quoted(store)} ${before_option} \\
        --output ${stage}.json ${args} receipts
    """

    stub:
    """
    touch ${stage}.json
    """
}
