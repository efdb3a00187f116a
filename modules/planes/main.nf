include { quoted } from '../shell'

// Decides which objects of planes stay, before they are joined (mode stitch).
process PLANES {
    tag "${sample}"
    label 'gather'

    input:
    tuple val(sample), path(plan), val(store), path(before), val(args)

    output:
    tuple val(sample), path('planes.json')

    script:
    """
    terapose.py stage planes --plan ${plan} --store ${quoted(store)} --before ${before} \\
        --output planes.json ${args}
    """

    stub:
    """
    touch planes.json
    """
}
