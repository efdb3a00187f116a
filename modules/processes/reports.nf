include { folder_of } from '../outdir'
include { quoted } from '../shell'

// A page with all samples, from the numbers of their reports.
process REPORTS {
    label 'small'
    publishDir { "${params.outdir}" }, mode: params.publish_mode, overwrite: true

    input:
    path _numbers, stageAs: 'samples/*/*'
    val _code

    output:
    tuple path('report.html'), path('report.json'), path('report_mqc.json')

    script:
    """
    terapose.py --threads ${task.cpus} report samples --output . --folder ${quoted(folder_of('{}'))}
    """

    stub:
    """
    touch report.html report.json report_mqc.json
    """
}
