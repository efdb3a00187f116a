include { folder_of } from '../samples'
include { quoted } from '../shell'

// A thumbnail of each cell, as one Zarr array.
process CUT {
    tag "${sample}"
    label 'blocks'
    publishDir { "${params.outdir}/${folder_of(sample)}" }, mode: params.publish_mode, overwrite: true

    input:
    tuple val(sample), path(labels), path(table), val(args), val(address), path(image, stageAs: 'image*/*')

    output:
    tuple val(sample), path('thumbnails.zarr')

    script:
    """
    terapose.py cut ${quoted(address)} ${labels} ${table} thumbnails.zarr ${args}
    """

    stub:
    """
    mkdir thumbnails.zarr
    """
}
