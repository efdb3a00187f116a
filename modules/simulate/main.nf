// A volume of nuclei with its reference labels, the same every time: something to try things on.
process SIMULATE {
    tag "${shape}"
    label 'small'
    storeDir { "${params.outdir}/simulated" }

    input:
    val shape

    output:
    tuple path('nuclei.zarr'), path('nuclei.labels.zarr')

    script:
    """
    terapose.py simulate nuclei.zarr --shape ${shape} --seed 7
    """

    stub:
    """
    mkdir nuclei.zarr nuclei.labels.zarr
    """
}
