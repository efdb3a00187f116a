include { folder_of } from '../samples'

// A thumbnail of each cell, as one Zarr array.
process CUT {
    tag "${sample}"
    label 'blocks'
    publishDir { "${params.outdir}/${folder_of(sample)}" }, mode: params.publish_mode, overwrite: true

    input:
    tuple val(sample), path(labels), path(table), val(size), val(address), path(image), val(level)

    output:
    tuple val(sample), path('thumbnails.zarr')

    script:
    def window = size.toInteger() ? "--window-size ${size}" : ''
    """
    terapose.py cut '${address}' ${labels} ${table} thumbnails.zarr --level ${level} ${window}
    """

    stub:
    """
    mkdir thumbnails.zarr
    """
}
