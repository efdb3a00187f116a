include { quoted } from '../shell'

// Counts the pixels that nuclei share with the cells of a second network.
process CELL_OVERLAPS {
    tag "${job.sample} ${job.task}"
    label 'blocks'
    ext needs: { job.needs }

    input:
    tuple val(job), path(plan), path(before), path(cells, stageAs: 'cells/*')

    output:
    tuple val(job.sample), path("${job.task}.json")

    script:
    """
    terapose.py --threads ${task.cpus} stage cell_overlaps --plan ${plan} --store ${quoted(job.store)} --before ${before} --task ${job.task} \\
        --cells cells --output ${job.task}.json ${job.args}
    """

    stub:
    """
    touch ${job.task}.json
    """
}
