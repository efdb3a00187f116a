// Merges the histograms of all blocks into the global low and high of each channel.
process PERCENTILES {
    tag "${sample}"
    label 'gather'

    input:
    tuple val(sample), path(plan), val(store), path(image), path(receipts, stageAs: 'receipts/*')

    output:
    tuple val(sample), path('percentiles.json')

    script:
    """
    terapose.py percentiles --plan ${plan} --store '${store}' --output percentiles.json receipts
    """

    stub:
    """
    touch percentiles.json
    """
}
