include { folder_of } from '../outdir'
include { quoted } from '../shell'

// A page to judge the results by, and its numbers. REPORTS reads these: they are not moved away.
process REPORT {
    tag "${sample}"
    label 'small'
    publishDir { "${params.outdir}/${folder_of(sample)}" }, mode: params.publish_mode == 'move' ? 'copy' : params.publish_mode, overwrite: true

    input:
    tuple val(sample), path(results, stageAs: 'results/*'), '-', path(image, stageAs: 'image*/*'), val(_code)

    output:
    tuple val(sample), path('report.html'), path('report.json'), path('report_mqc.json')

    script:
    """
    terapose.py --threads ${task.cpus} report results - --output . --name ${quoted(sample)}
    """

    stub:
    """
    touch report.html report.json report_mqc.json
    """
}
