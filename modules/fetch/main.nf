// The network's file under its own name, and its card: from a name, a path or a URL.
process FETCH {
    tag "${sample}"
    label 'small'

    input:
    tuple val(sample), val(identity), val(args), path(model, stageAs: 'model/*')

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
