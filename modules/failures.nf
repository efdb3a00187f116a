// Tasks that failed for good, while others went on. What conf/base.config knows of them reaches this
// script through properties of the system, for nothing else is shared with a process's settings.

// Say how many samples there are: of a single one the first fault stops the run.
def expect_samples(given, images) {
    def several = images.size() > 1 || ([given] + images.collect { _name, _address, own -> own }).any { all -> all.time == 'all' }
    System.setProperty('terapose.samples', several ? 'several' : 'one')
}

// [name of the task, its sentence] of each, those of one sentence once.
def failures() {
    return System.properties
        .findAll { key, _value -> key.startsWith('terapose.failed.') }
        .collect { _key, value -> value.split('\t', 2).toList() }
        .collect { name, folder -> [name, sentence(file(folder, glob: false).resolve('.command.err'))] }
        .toSorted { failure -> failure.join(' ') }
        .unique { failure -> failure[1] }
}

// The last sentence that a task said on standard error.
def sentence(said) {
    def lines = said.exists() ? said.readLines().findAll { line -> line.trim() } : []
    def own = lines.findAll { line -> line.startsWith('terapose: ') }
    def last = (own ?: lines ?: ['stopped without a message']).last()
    return last.toString() - 'terapose: '
}

// The last words of a run in which some samples failed; none where all are finished.
def said_of_failures(finished) {
    def lines = failures().collect { name, said -> "terapose: ${name}: ${said}" }
    def end = "terapose: some samples failed, ${finished} finished; finished work is kept for -resume"
    return lines ? (lines + end).join('\n') : ''
}

// Say how the run ended: where the results are, with notes on them; or, last and alone, what failed.
def say_end(outdir, finished, notes) {
    def failed = said_of_failures(finished)
    if (workflow.success && (finished || !failed)) {
        println("\nResults: ${outdir ?: params.outdir}")
        notes.each { note -> println("WARNING: ${note}") }
    }
    if (failed || !workflow.success) {
        // the sentence of the stage that failed; or those of the samples that did
        def said = (workflow.errorMessage ?: '').readLines().findAll { line -> line.startsWith('terapose: ') }
        def stopped = said ? said.last() : 'terapose: the run stopped: see .nextflow.log'
        def last_words = workflow.success ? failed : stopped
        // Nextflow has more to log after this: wait until it is really over
        Runtime.getRuntime().addShutdownHook(new Thread({ -> System.err.println("\n${last_words}") }))
    }
}
