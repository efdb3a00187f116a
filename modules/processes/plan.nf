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
    tuple val(sample), path('plan.json'), path('store'), path('tasks/*.csv'), emit: planned
    tuple val(sample), path('said.txt'), emit: said

    script:
    """
    terapose.py --threads ${task.cpus} stage plan --model-file ${model} --store "\$PWD/store" --tasks tasks --output plan.json > said.txt
    """

    stub:
    def cut = (scattered() - ['convert']).join(' ')
    """
    mkdir store tasks
    touch plan.json said.txt
    columns=task,first,stop,memory,seconds,cpus,gpus
    needs=100000000,60,1,0
    for stage in ${cut}; do
        printf '%s\\n' \$columns 0,0,1,\$needs 1,1,2,\$needs all,0,2,\$needs > tasks/\$stage.csv
    done
    printf '%s\\n' \$columns all,0,0,0,0,0,0 > tasks/convert.csv
    cp tasks/convert.csv tasks/whole.csv
    """
}
