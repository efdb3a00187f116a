include { folder_of } from '../outdir'
include { quoted } from '../shell'

// Publishes the results of a sample after comparing them with their checksums and with the run they
// should be of. Never cached: results that were laid out by an earlier run may have been damaged or
// replaced since.
process PUBLISH {
    tag "${sample}"
    label 'small'
    cache false
    publishDir { "${params.outdir}/${folder_of(sample)}" }, mode: params.publish_mode, overwrite: true, saveAs: { name -> name.tokenize('/').last() }

    input:
    tuple val(sample), val(store), path(plan), path(before), path(results, stageAs: 'laid/*')
    val outdir

    output:
    tuple val(sample), path('results/*')

    script:
    // who finds files there, should the copy be cut short, has to know that they are results
    def into = outdir ? "--into ${quoted("${outdir}/${folder_of(sample)}")}" : ''
    """
    terapose.py --threads ${task.cpus} verify laid --store ${quoted(store)} --plan ${plan} --before ${before} ${into}
    cp -RlL laid results 2> /dev/null || { rm -rf results; cp -RL laid results; }
    """

    stub:
    """
    cp -RL laid results
    """
}
