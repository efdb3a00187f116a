// A job array of two tasks, of which the workflow has noted what others of its stage ask for as well.

include { note_needs } from '../../modules/tasks'

process GRADIENTS_YX {
    array 2
    label 'network'
    ext needs: { job.needs }

    input:
    val job

    script:
    """
    echo ${task.cpus}
    """
}

workflow {
    def jobs = [[memory: 3000000000, seconds: 3600, cpus: 2, gpus: 1], [memory: 4000000000, seconds: 60, cpus: 2, gpus: 1]]
    jobs.each { needs -> note_needs('gradients-yx', needs) }
    GRADIENTS_YX(channel.fromList(jobs.collect { needs -> [needs: needs] }))
}
