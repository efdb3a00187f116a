include { folder_of } from '../outdir'

// Scores against reference labels.
process EVALUATE {
    tag "${sample}"
    label 'small'
    publishDir { "${params.outdir}/${folder_of(sample)}" }, mode: params.publish_mode, overwrite: true

    input:
    tuple val(sample), path(labels), val(_code), path(reference)

    output:
    tuple val(sample), path('scores.json')

    script:
    """
    terapose.py --threads ${task.cpus} evaluate ${reference} ${labels} --json scores.json
    """

    stub:
    """
    touch scores.json
    """
}
