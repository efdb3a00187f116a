include { quoted } from '../shell'

// Completes the pyramid and lays the results of a sample out, thumbnails too; PUBLISH hands them to
// the user.
process FINISH {
    tag "${sample}"
    label 'gather'

    input:
    tuple val(sample), path(plan), val(store), path(before), val(args), path(exported, stageAs: 'receipts/export/*'), path(measured, stageAs: 'receipts/measure/*'), path(outlined, stageAs: 'receipts/outlines/*'), path(image, stageAs: 'image*/*')

    output:
    tuple val(sample), path('results/labels.zarr'), path('results/provenance.json'), path('results/*.{csv,parquet,h5ad,geojson}'), path('results/{*.tif,*.tiff,thumbnails.zarr}', arity: '0..*')

    script:
    """
    terapose.py stage finish --plan ${plan} --store ${quoted(store)} --before ${before} \\
        --output results ${args} receipts
    """

    stub:
    """
    mkdir -p results/labels.zarr
    touch results/cells.csv results/cells.parquet results/provenance.json
    """
}
