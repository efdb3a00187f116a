include { needs_of_all ; script_of ; tag_of } from '../packs'
include { quoted } from '../shell'

// All stages of small images, one after another: where none has several tasks, starting them would
// take longer than their work. What is in the store is what they would have left there, so a run that
// is repeated with other parameters, or as several tasks, goes on from it.
process WHOLE {
    tag "${tag_of(jobs)}"
    label 'network'
    ext needs: { needs_of_all(jobs) }

    input:
    tuple val(jobs), path(plans, stageAs: 'plan*/plan.json'), path(model), path(image, stageAs: 'image*/*')

    output:
    tuple val(jobs), path('out*/results/*', arity: '0..*'), path('out*/finish.json', arity: '0..*'), path('out*/fault', arity: '0..*'), path('complete')

    script:
    script_of(task, jobs.withIndex(1).collect { job, n ->
        "stage whole --plan ../plan${n}/plan.json --store ${quoted(job.store)} --model-file ../${model} --output results --summary finish.json ${job.args}"
    })

    stub:
    """
    for n in {1..${jobs.size()}}; do
        mkdir -p out\$n/results/labels.zarr
        touch out\$n/results/{cells.csv,cells.parquet,provenance.json} out\$n/finish.json
    done
    touch complete
    """
}
