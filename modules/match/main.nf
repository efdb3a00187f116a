include { quoted } from '../shell'

// Matches nuclei to the cells of a second network, and says whose is whose.
process MATCH {
    tag "${sample}"
    label 'gather'

    input:
    tuple val(sample), path(plan), val(store), path(before), val(args), path(receipts, stageAs: 'receipts/*')

    output:
    tuple val(sample), path('match.json')

    script:
    """
    terapose.py stage match --plan ${plan} --store ${quoted(store)} --before ${before} \\
        --output match.json ${args} receipts
    """

    stub:
    """
    touch match.json
    """
}
