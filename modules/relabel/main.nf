include { quoted } from '../shell'

// Decides which cells stay, and numbers them.
process RELABEL {
    tag "${sample}"
    label 'gather'

    input:
    tuple val(sample), path(plan), val(store), path(before), val(args)

    output:
    tuple val(sample), path('relabel.json')

    script:
    """
    terapose.py stage relabel --plan ${plan} --store ${quoted(store)} --before ${before} \\
        --output relabel.json ${args}
    """

    stub:
    """
    touch relabel.json
    """
}
