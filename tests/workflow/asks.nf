// Tasks that end as they are told to, one exit status an attempt: what they ask for is in the trace, and
// what is said of those that failed in a file.

include { failures } from '../../modules/failures'

process ENDS {
    tag "${job.name}"
    label 'blocks'
    ext needs: { job.needs }

    input:
    val job

    script:
    """
    echo '${task.accelerator?.request ?: 0}' > gpus
    echo '${job.says ?: ''}' >&2
    exit ${(job.ends + [0] * 9)[task.attempt - 1]}
    """
}

process GATHERS {
    label 'gather'

    script:
    """
    true
    """
}

workflow {
    System.setProperty('terapose.samples', 'several')
    ENDS(channel.fromList(new groovy.json.JsonSlurper().parse(file(params.jobs))))
    GATHERS()
    workflow.onComplete = {
        file(params.answers).text = groovy.json.JsonOutput.toJson(failures())
    }
}
