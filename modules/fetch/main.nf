// The network's file, once a run: from a name, a path or a URL.
process FETCH {
    tag "${sample}"
    label 'small'

    input:
    tuple val(sample), val(identity), val(args)
    path model, stageAs: 'model/*'

    output:
    tuple val(sample), path('network.pth')

    script:
    """
    terapose.py fetch ${args} --output network.pth
    """

    stub:
    """
    touch network.pth
    """
}
