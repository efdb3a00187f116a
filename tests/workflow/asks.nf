// Tasks that end as they are told to, one exit status an attempt, or wait for words in Nextflow's log: what they
// ask for is in the trace, and what is said of those that failed in a file. One task of ENDS may be followed by
// one of SMALL.

include { failures } from '../../modules/failures'

def ending(job, task) {
    return """
    echo '${task.accelerator?.request ?: 0}' > gpus
    echo '${job.says ?: ''}' >&2
    for second in \$(seq ${job.waits_for ? 600 : 0}); do
        grep -q '${job.waits_for ?: ''}' '${workflow.launchDir}/.nextflow.log' && break
        sleep 1
    done
    exit ${(job.ends + [0] * 9)[task.attempt - 1]}
    """
}

process ENDS {
    tag "${job.name}"
    label 'blocks'
    ext needs: { job.needs }

    input:
    val job

    output:
    val job

    script:
    ending(job, task)
}

process PASSES {
    tag "${job.name}"
    label 'network'
    ext needs: { job.needs }

    input:
    val job

    script:
    ending(job, task)
}

process GATHERS {
    tag "${job.name}"
    label 'gather'

    input:
    val job

    script:
    ending(job, task)
}

process SMALL {
    tag "${job.name}"
    label 'small'

    input:
    val job

    script:
    ending(job, task)
}

workflow {
    System.setProperty('terapose.samples', params.samples)
    def jobs = new groovy.json.JsonSlurper().parse(file(params.jobs)).groupBy { job -> job.process ?: 'ENDS' }
    ENDS(channel.fromList(jobs.ENDS ?: []))
    PASSES(channel.fromList(jobs.PASSES ?: []))
    GATHERS(channel.fromList(jobs.GATHERS ?: []))
    SMALL(channel.fromList(jobs.SMALL ?: []).mix(ENDS.out.filter { job -> job.next }.map { job -> job.next }))
    workflow.onComplete = {
        file(params.answers).text = groovy.json.JsonOutput.toJson(failures())
    }
}
