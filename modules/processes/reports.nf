include { folder_of } from '../outdir'
include { quoted } from '../shell'

// A page with all samples, from the numbers of their reports. That of an earlier run is gone by then
// (remove_reports), so what is there is of somebody else; on an object store nobody looks.
process REPORTS {
    label 'small'
    publishDir { "${params.outdir}" }, mode: params.publish_mode, overwrite: params.outdir.toString().contains('://')

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
