// The words of the command come on standard input ('-'): an address may hold credentials, and Nextflow
// shows scripts in its reports and logs. Others on a machine see the words of commands, so the network
// goes on to another standard input.
//
// The networks' files under their own names, and their cards: from names, paths or URLs. Once for all
// samples that have the same. What stages run is compiled meanwhile, where it is not yet: a task that
// compiles needs more memory than was projected for it.
process FETCH {
    tag "${network}"
    label 'small'

    input:
    tuple val(network), '-', path(models, stageAs: 'model*/*')

    output:
    tuple val(network), path('network'), emit: network
    stdout emit: said

    // after a kill of Nextflow the task may meet what it has left, or is still writing
    script:
    """
    mkdir -p network
    eval "set -- \$(cat)"
    model=\$1
    shift
    printf '%s\\n' "\$model" | terapose.py --threads ${task.cpus} fetch - "\$@" --output network --compile > said.txt
    tail -n 1 said.txt
    """

    stub:
    """
    mkdir network
    """
}
