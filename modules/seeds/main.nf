include { quoted } from '../shell'

// Numbers the seeds of all blocks by their position.
process SEEDS {
    tag "${sample}"
    label 'gather'

    input:
    tuple val(sample), path(plan), val(store), path(before), val(args), path(receipts, stageAs: 'receipts/*')

    output:
    tuple val(sample), path('seeds.json')

    script:
    """
    terapose.py stage seeds --plan ${plan} --store ${quoted(store)} --before ${before} \\
        --output seeds.json ${args} receipts
    """

    stub:
    """
    touch seeds.json
    """
}
