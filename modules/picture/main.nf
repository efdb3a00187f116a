include { folder_of } from '../samples'

// The outlines of the cells on the image, in three sections.
process PICTURE {
    tag "${sample}"
    label 'small'
    publishDir { "${params.outdir}/${folder_of(sample)}" }, mode: params.publish_mode, overwrite: true

    input:
    tuple val(sample), path(labels), val(address), path(image), val(level)

    output:
    tuple val(sample), path('picture.png')

    script:
    """
    terapose.py picture '${address}' ${labels} picture.png --level ${level}
    """

    stub:
    """
    touch picture.png
    """
}
