include { quoted } from '../shell'

// Completes the pyramid and lays the results of a sample out, thumbnails too; PUBLISH hands them to
// the user.
process FINISH {
    tag "${job.sample}"
    label 'gather'

    input:
    tuple val(job), path(plan), path(before), path(exported, stageAs: 'receipts/export/*'), path(measured, stageAs: 'receipts/measure/*'), path(outlined, stageAs: 'receipts/outlines/*'), path(image, stageAs: 'image*/*')

    output:
    tuple val(job.sample), path('results/*')

    script:
    """
    terapose.py --threads ${task.cpus} stage finish --plan ${plan} --store ${quoted(job.store)} --before ${before} \\
        --output results ${job.args} receipts
    """

    stub:
    """
    mkdir -p results/labels.zarr
    touch results/cells.csv results/cells.parquet results/provenance.json
    """
}
