include { quoted } from '../shell'

// Makes one table of all objects.
process OBJECTS {
    tag "${sample}"
    label 'gather'

    input:
    tuple val(sample), path(plan), val(store), path(before), val(args), path(receipts, stageAs: 'receipts/*')

    output:
    tuple val(sample), path('objects.json')

    script:
    """
    terapose.py stage objects --plan ${plan} --store ${quoted(store)} --before ${before} \\
        --output objects.json ${args} receipts
    """

    stub:
    """
    touch objects.json
    """
}
