include { scattered } from '../stages'

// Makes the store of the plan that CHECK has handed on: an output of this task, so that Nextflow
// notices when it is gone. Later tasks get its address as a value.
// The plan comes on standard input ('-'): addresses in it may hold credentials, and Nextflow shows
// scripts in its reports and logs. As a file of CHECK, which always runs, it would be another input
// in each run.
process PLAN {
    tag "${sample}"
    label 'small'

    input:
    tuple val(sample), '-', val(identity), path(image, stageAs: 'image*/*'), path(model), path(beside, stageAs: 'beside*/*')

    output:
    tuple val(sample), path('plan.json'), path('store'), path('tasks/*.csv')

    script:
    """
    terapose.py stage plan --model-file ${model} --store "\$PWD/store" --tasks tasks --output plan.json
    """

    stub:
    def cut = (scattered() - ['convert']).join(' ')
    def columns = 'task,first,stop,memory,seconds,cpus,gpus'
    def needs = '100000000,60,1,0'
    """
    mkdir store tasks
    touch plan.json
    for stage in ${cut}; do
        printf '${columns}\\n0,0,1,${needs}\\n1,1,2,${needs}\\nall,0,2,${needs}\\n' > tasks/\$stage.csv
    done
    printf '${columns}\\nall,0,0,0,0,0,0\\n' > tasks/convert.csv
    """
}
