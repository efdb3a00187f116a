include { folders_of ; place_of ; script_of ; tag_of } from '../packs'
include { folder_of } from '../outdir'
include { quoted } from '../shell'

// Publishes the results of samples after comparing them with their checksums and with the run they
// should be of. Never cached: results that were laid out by an earlier run may have been damaged or
// replaced since.
process PUBLISH {
    tag "${tag_of(jobs)}"
    label 'small'
    cache false
    publishDir { "${params.outdir}" }, mode: params.publish_mode, overwrite: true, saveAs: { name -> place_of(jobs, name) }

    input:
    tuple val(jobs), path(plans, stageAs: 'plan*/plan.json'), path(before, stageAs: 'before*/*'), path(results, stageAs: 'laid*/*')
    val outdir

    output:
    tuple val(jobs), path('out*/results/*', arity: '0..*'), path('out*/fault', arity: '0..*'), path('complete')

    script:
    folders_of(jobs, 'laid') + script_of(task, jobs.withIndex(1).collect { job, n ->
        // who finds files there, should the copy be cut short, has to know that they are results
        def into = outdir ? "--into ${quoted("${outdir}/${folder_of(job.sample)}")}" : ''
        "verify laid --store ${quoted(job.store)} --plan ../plan${n}/plan.json --before ../before${n}/${job.before} ${into}"
    }) + '''
    for folder in out*; do
        if ! [ -e $folder/fault ]; then
            cp -RlL $folder/laid $folder/results 2> /dev/null || { rm -rf $folder/results; cp -RL $folder/laid $folder/results; }
        fi
    done
    '''.stripIndent()

    stub:
    """
    for n in {1..${jobs.size()}}; do
        mkdir -p out\$n/results/labels.zarr
        touch out\$n/results/{cells.csv,cells.parquet,provenance.json}
    done
    touch complete
    """
}
