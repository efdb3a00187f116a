// Decides which objects stay, and numbers them.
process RELABEL {
    tag "${sample}"
    label 'gather'

    input:
    tuple val(sample), path(plan), val(store), path(before), val(args), path(receipts, stageAs: 'receipts/*')

    output:
    tuple val(sample), path('relabel.json')

    script:
    """
    terapose.py relabel --plan ${plan} --store '${store}' --before ${before} \\
        --output relabel.json ${args} receipts
    """

    stub:
    """
    touch relabel.json
    """
}
