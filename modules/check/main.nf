// Everything that can be wrong, in seconds. Never cached: a changed file must be noticed.
process CHECK {
    tag "${sample}"
    label 'small'
    cache false

    input:
    tuple val(sample), val(address), path(image)
    path params_file
    val output

    output:
    path 'sample.csv'

    script:
    """
    terapose.py check '${address}' --sample '${sample}' --params-file ${params_file} \\
        --output '${output}/${sample}' > sample.csv
    """

    stub:
    """
    echo 'sample,address,identity,plan,fetch,gradients,combine,follow,relabel,export,finish' > sample.csv
    echo '${sample},${address},stub,,,,,,,,' >> sample.csv
    """
}
