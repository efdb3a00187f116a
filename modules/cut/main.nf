include { folder_of } from '../samples'

// A thumbnail of each cell, as one Zarr array.
process CUT {
    tag "${sample}"
    label 'blocks'
    publishDir { "${params.outdir}/${folder_of(sample)}" }, mode: params.publish_mode, overwrite: true

    input:
    tuple val(sample), path(labels), path(table), val(args), '-', path(image, stageAs: 'image*/*')

    output:
    tuple val(sample), path('thumbnails.zarr')

    script:
    """
    terapose.py cut "\$(cat)" ${labels} ${table} thumbnails.zarr ${args}
    """

    stub:
    """
    mkdir thumbnails.zarr
    """
}
