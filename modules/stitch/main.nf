include { quoted } from '../shell'

// Joins the objects of neighbouring planes into cells (mode stitch).
process STITCH {
    tag "${sample}"
    label 'gather'

    input:
    tuple val(sample), path(plan), val(store), path(before), val(args), path(receipts, stageAs: 'receipts/*')

    output:
    tuple val(sample), path('stitch.json')

    script:
    """
    terapose.py stage stitch --plan ${plan} --store ${quoted(store)} --before ${before} \\
        --output stitch.json ${args} receipts
    """

    stub:
    """
    touch stitch.json
    """
}
