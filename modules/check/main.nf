include { folder_of } from '../samples'
include { quoted } from '../shell'

// Everything that can be wrong, in seconds. Never cached: a changed file must be noticed.
// The address comes on standard input ('-'): it may hold credentials, and Nextflow shows scripts in its
// reports and logs.
process CHECK {
    tag "${sample}"
    label 'small'
    cache false

    input:
    tuple val(sample), '-', path(image, stageAs: 'image*/*'), val(own), path(models, stageAs: 'model*/*'), path(beside, stageAs: 'beside*/*')
    path params_file
    val output
    val second

    output:
    path 'sample.tsv', emit: lines
    stdout emit: said

    script:
    def output_option = output ? "--output ${quoted("${output}/${folder_of(sample)}")}" : ''
    def second_option = second ? '--second' : ''
    """
    printf '%s' ${quoted(groovy.json.JsonOutput.toJson(own))} > own.json
    terapose.py check "\$(cat)" --sample ${quoted(sample)} --params-file ${params_file} \\
        --own own.json --lines sample.tsv ${output_option} ${second_option}
    """

    stub:
    """
    printf 'sample\\tsource\\taddress\\tidentity\\tplan\\tfetch\\terrors\\tmeasures\\toutlines\\tgradients\\tcombine\\tfollow\\tobjects\\tplanes\\tstitch\\trelabel\\tmatches\\tmeasure\\tfinish\\tstale\\n' > sample.tsv
    printf '%s\\t%s\\t%s\\tstub\\t-\\t-\\tyes\\tyes\\tyes\\t-\\t-\\t-\\t-\\t-\\t-\\t-\\t\\t-\\t-\\t\\n' ${quoted(sample)} ${quoted(sample)} "\$(cat)" >> sample.tsv
    """
}
