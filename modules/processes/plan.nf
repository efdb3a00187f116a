include { scattered } from '../stub'

// Fixes the geometry and makes the store: an output of this task, so that Nextflow notices when it
// is gone. Later tasks get its address as a value.
// The words of the command come on standard input ('-'): addresses in them may hold credentials, and
// Nextflow shows scripts in its reports and logs.
process PLAN {
    tag "${sample}"
    label 'small'

    input:
    tuple val(sample), '-', val(identity), path(image, stageAs: 'image*/*'), path(model), path(beside, stageAs: 'beside*/*')

    output:
    tuple val(sample), path('plan.json'), path('store'), path('tasks/*.csv')

    script:
    """
    eval "set -- \$(cat)"
    terapose.py plan "\$@" --model-file ${model} --store "\$PWD/store" --tasks tasks --output plan.json
    """

    stub:
    def cut = (scattered() - ['convert']).join(' ')
    """
    mkdir store tasks
    touch plan.json
    for stage in ${cut}; do
        printf 'task,first,stop\\n0,0,1\\n1,1,2\\nall,0,2\\n' > tasks/\$stage.csv
    done
    printf 'task,first,stop\\nall,0,0\\n' > tasks/convert.csv
    """
}
