include { quoted } from '../shell'

// Finds what becomes 0 and 1 in each channel.
process PERCENTILES {
    tag "${sample}"
    label 'gather'

    input:
    tuple val(sample), path(plan), val(store), path(image, stageAs: 'image*/*'), path(before), path(receipts, stageAs: 'receipts/*')

    output:
    tuple val(sample), path('percentiles.json')

    script:
    def before_option = before ? "--before ${quoted(before)}" : ''
    """
    terapose.py stage percentiles --plan ${plan} --store ${quoted(store)} ${before_option} \\
        --output percentiles.json receipts
    """

    stub:
    """
    touch percentiles.json
    """
}
