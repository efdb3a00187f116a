include { quoted } from '../shell'

// All stages of a small image, one after another: where none has several tasks, starting them would
// take longer than their work. What is in the store is what they would have left there, so a run that
// is repeated with other parameters, or as several tasks, goes on from it.
process WHOLE {
    tag "${job.sample}"
    label 'network'
    ext needs: { job.needs }

    input:
    tuple val(job), path(plan), path(model), path(image, stageAs: 'image*/*')

    output:
    tuple val(job.sample), path('results/labels.zarr'), path('results/provenance.json'), emit: cells
    tuple val(job.sample), path('results/*'), emit: files
    tuple val(job.sample), path('finish.json'), emit: summary

    script:
    """
    terapose.py --threads ${task.cpus} stage whole --plan ${plan} --store ${quoted(job.store)} --model-file ${model} \\
        --output results --summary finish.json ${job.args}
    """

    stub:
    """
    mkdir -p results/labels.zarr
    touch results/cells.csv results/cells.parquet results/provenance.json finish.json
    """
}
