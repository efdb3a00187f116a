// The networks' files under their own names, and their cards: from names, paths or URLs.
process FETCH {
    tag "${sample}"
    label 'small'

    input:
    tuple val(sample), val(identity), val(args), path(models, stageAs: 'model*/*')

    output:
    tuple val(sample), path('network'), emit: network
    stdout emit: said

    script:
    """
    mkdir network
    terapose.py fetch ${args} --output network > said.txt
    tail -n 1 said.txt
    """

    stub:
    """
    mkdir network
    """
}
