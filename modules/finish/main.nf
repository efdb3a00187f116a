include { folder_of } from '../samples'
include { quoted } from '../shell'

// Completes the pyramid and lays the results of a sample out. The cells of a second network are no
// results by themselves.
process FINISH {
    tag "${sample}"
    label 'gather'
    publishDir { "${params.outdir}/${folder_of(sample)}" }, mode: params.publish_mode, overwrite: true, saveAs: { name -> second ? null : name.tokenize('/').last() }

    input:
    tuple val(sample), path(plan), val(store), path(before), val(args), path(exported, stageAs: 'receipts/export/*'), path(measured, stageAs: 'receipts/measure/*'), path(outlined, stageAs: 'receipts/outlines/*')
    val second

    output:
    tuple val(sample), path('results/labels.zarr'), path('results/provenance.json'), path('results/*.{csv,parquet,h5ad,geojson}'), path('results/*.{tif,tiff}', arity: '0..*')

    script:
    """
    terapose.py finish --plan ${plan} --store ${quoted(store)} --before ${before} \\
        --output results ${args} receipts
    """

    stub:
    """
    mkdir -p results/labels.zarr
    touch results/cells.csv results/cells.parquet results/provenance.json
    """
}
