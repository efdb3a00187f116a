include { folder_of } from '../outdir'
include { quoted } from '../shell'
include { around ; gathers ; scattered } from '../stages'

// Everything that can be wrong, in seconds. Never cached: a changed file must be noticed.
// The address and, on the next line, the sample's own parameters (JSON) come on standard input ('-'):
// they may hold credentials, and Nextflow shows scripts in its reports and logs. Others on a machine see
// the words of commands, so these go on to another standard input.
process CHECK {
    tag "${sample}"
    label 'small'
    cache false

    input:
    tuple val(sample), '-', path(image, stageAs: 'image*/*'), path(models, stageAs: 'model*/*'), path(beside, stageAs: 'beside*/*')
    path params_file
    val output
    val second
    val source // the package of the workflow, to be compared with that in a container, or ''

    output:
    path 'sample.tsv', emit: lines
    stdout emit: said

    script:
    def output_option = output ? "--output ${quoted("${output}/${folder_of(sample)}")}" : ''
    def second_option = second ? '--second' : ''
    def source_option = source ? "--source ${quoted(source)}" : ''
    """
    IFS= read -r address
    cat > own.json
    printf '%s\\n' "\$address" | terapose.py --threads ${task.cpus} check - --sample ${quoted(sample)} --params-file ${params_file} \\
        --own own.json --lines sample.tsv ${output_option} ${second_option} ${source_option}
    """

    stub:
    def asked = (scattered() + gathers() + around() - ['cell_overlaps', 'match']).join(' ')
    """
    IFS= read -r address
    printf 'sample\\tsource\\taddress\\tidentity\\tplan\\tnetwork\\tfetch\\tmax_memory\\tmemory\\truns\\tstale\\n' > sample.tsv
    printf '%s\\t%s\\t%s\\tstub\\t-\\tstub\\t-\\t8\\t\\t%s\\t\\n' ${quoted(sample)} ${quoted(sample)} "\$address" ${quoted(asked)} >> sample.tsv
    """
}
