include { one_by_one ; tag_of } from '../packs'
include { quoted } from '../shell'
include { around ; gathers ; scattered } from '../stages'

// Everything that can be wrong, in seconds, with several samples one after another. Never cached: a changed
// file must be noticed. The words of the commands come on standard input ('-'): addresses and parameters may
// hold credentials, and Nextflow shows scripts in its reports and logs.
process CHECK {
    tag "${tag_of(jobs)}"
    label 'small'
    cache false

    input:
    tuple val(jobs), '-', path(image, stageAs: 'image*/*'), path(models, stageAs: 'model*/*'), path(beside, stageAs: 'beside*/*')
    path 'params.json'

    output:
    tuple val(jobs), path('out*/sample.tsv', arity: '0..*'), path('out*/fault', arity: '0..*'), path('complete'), emit: lines
    stdout emit: said

    script:
    """
    ${one_by_one(task)}
    touch complete
    """

    stub:
    def asked = (scattered() + gathers() + around() - ['cell_overlaps', 'match']).join(' ')
    jobs.withIndex(1).collect { job, n ->
        """
        mkdir -p out${n}
        printf 'sample\\tsource\\taddress\\tidentity\\tplan\\tnetwork\\tfetch\\tmax_memory\\tmemory\\truns\\tstale\\n' > out${n}/sample.tsv
        printf '%s\\t%s\\t-\\tstub\\t-\\tstub\\t-\\t8\\t\\t%s\\t\\n' ${quoted(job.sample)} ${quoted(job.sample)} ${quoted(asked)} >> out${n}/sample.tsv
        """.stripIndent()
    }.join('') + 'touch complete'
}
