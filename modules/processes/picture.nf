include { folder_of } from '../outdir'

// The outlines of the cells on the image, in three sections. The record, beside the labels, tells
// which channel and level were segmented.
process PICTURE {
    tag "${sample}"
    label 'small'
    publishDir { "${params.outdir}/${folder_of(sample)}" }, mode: params.publish_mode, overwrite: true

    input:
    tuple val(sample), path(labels), path(_record), '-', path(image, stageAs: 'image*/*'), val(_code)

    output:
    tuple val(sample), path('picture.png')

    script:
    """
    terapose.py --threads ${task.cpus} picture - ${labels} picture.png
    """

    stub:
    """
    touch picture.png
    """
}
