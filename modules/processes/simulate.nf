include { quoted } from '../shell'

// A volume of nuclei with its reference labels, the same every time: something to try things on.
process SIMULATE {
    tag "${shape}"
    label 'small'
    // a folder for each shape: what is stored is not made again
    storeDir { "${params.outdir}/simulated/${shape.toString().replace(',', 'x')}" }

    input:
    val shape

    output:
    tuple path('nuclei.zarr'), path('nuclei.labels.zarr')

    script:
    """
    terapose.py --threads ${task.cpus} simulate nuclei.zarr --shape ${quoted(shape)} --seed 7
    """

    stub:
    """
    mkdir nuclei.zarr nuclei.labels.zarr
    """
}
