// Tasks that failed for good, while others went on. What conf/base.config knows of them, and of the words of
// schedulers, reaches this script through properties of the system, for nothing else is shared with a
// process's settings.

// Say how many samples there are: of a single one the first fault stops the run.
def expect_samples(given, images) {
    def several = images.size() > 1 || ([given] + images.collect { _name, _address, own -> own }).any { all -> all.time == 'all' }
    System.setProperty('terapose.samples', several ? 'several' : 'one')
}

// [name of the task, how it ended and where, its sentence] of each; of the tasks of one stage and sample
// with the same sentence the first.
def failures() {
    return System.properties
        .findAll { key, _value -> key.startsWith('terapose.failed.') }
        .collect { _key, value -> value.split('\t', 5).toList() }
        .collect { name, folder, status, request, known ->
            [name, "${end_of(status)}, work folder ${folder}", sentence(file(folder, glob: false), status, known + remedy(known, request))]
        }
        .toSorted { failure -> failure.join(' ') }
        .groupBy { failure -> [stage_in(failure[0]), failure[2]] }
        .collect { _stage, same -> same[0] }
}

// A task's stage and sample: its name without the number of the task, which those of REFUSE do not have.
def stage_in(name) {
    return name =~ /\bREFUSE \(/ ? name : name.replaceFirst(/ \d+\)$/, ')')
}

// How a task ended, where that is known.
def end_of(status) {
    return status ==~ /\d+/ && status != "${Integer.MAX_VALUE}" ? "exit status ${status}" : 'no exit status'
}

// Why a task failed: its last sentence on standard error; or what the scheduler noted in its log, or told
// Nextflow; or the last that it wrote.
def sentence(folder, status, known) {
    def lines = lines_of(folder.resolve('.command.err'))
    def own = lines.findAll { line -> line.startsWith('terapose: ') }
    def noted = lines_of(folder.resolve('.command.log')).findAll { line -> line =~ System.getProperty('terapose.schedulers') }
    def killed = is_full(folder) ? "${folder}: No space left on device; make room, and run again with -resume: finished work is kept" : status in ['9', '137', '247'] ? 'was killed, most likely for lack of memory' : 'was killed, or stopped without a message'
    def told = known =~ /^$|terminated (with an error exit status|for an unknown reason)/ ? [] : [known]
    def last = ((status in ['2', '75'] ? own : []) ?: noted ?: told ?: own ?: lines ?: [killed]).last()
    return last.toString() - 'terapose: '
}

// Whether the disk of a work folder is full: then a task cannot even say so.
def is_full(folder) {
    return folder.toUri().scheme == 'file' && folder.toFile().usableSpace < 65536
}

// What to do about what Nextflow says, where that is known. max_memory is what requests are projected for;
// those of other processes are fixed.
def remedy(known, request) {
    def is_memory = known.startsWith('Process requirement exceeds available memory')
    def limits = 'resourceLimits in a configuration of your own'
    if (is_memory && request == 'projected') {
        return "; give a smaller max_memory, or ${limits}"
    }
    def why = is_memory ? ', which cap requests: that of this process is the same for every max_memory' : ''
    return known.startsWith('Process requirement exceeds') ? "; give ${limits}${why}" : ''
}

def lines_of(file) {
    return file.exists() ? file.readLines().findAll { line -> line.trim() } : []
}

// The last words of a run in which some samples failed; none where all are finished.
def said_of_failures(finished) {
    def lines = failures().collect { name, end, said -> "terapose: ${name}: ${said} (${end})" }
    def end = "terapose: some samples failed, ${finished} finished; finished work is kept for -resume"
    return lines ? (lines + end).join('\n') : ''
}

// The last words of a run that was stopped: by a task, whose sentence comes last and alone, or by another
// sentence.
def said_of_stop() {
    def lines = failures().collectMany { name, end, said -> ["terapose: ${name}: ${end}", "terapose: ${said}"] }
    def told = (workflow.errorMessage ?: '').readLines()
    def other = told.findAll { line -> line.startsWith('terapose: ') } ?: told.collectMany { line -> said_of_copy(line) }
    return (lines ?: other.takeRight(1) ?: ['terapose: the run stopped: see .nextflow.log']).join('\n')
}

// Of a result that Nextflow itself could not copy to its folder: which, and why.
def said_of_copy(line) {
    def found = line =~ /FileSystemException: (?:.* -> )?(.+)/
    def remedy = 'make room, or choose another outdir, and run again with -resume: finished work is kept'
    return found ? ["terapose: results cannot be copied: ${found[0][1]}; ${remedy}".toString()] : []
}

// Cells of a record, and the seconds of each stage; a stub has none.
def numbers_in(record) {
    def read = record.text ? new groovy.json.JsonSlurper().parseText(record.text) : [cells: 0, stages: [:]]
    return [cells: read.cells, seconds: read.stages.collectEntries { stage, done -> [stage, done.seconds] }]
}

// Say how the run ended: where the results are and how many cells, with notes on them; or,
// last, what failed. `finished` are the samples that are, with what `numbers_in` says of them.
def say_end(outdir, finished, notes) {
    def failed = said_of_failures(finished.size())
    if (workflow.success && (finished || !failed)) {
        println("\nResults: ${outdir ?: params.outdir}")
        println("Cells: ${finished.values().sum { all -> all.cells } ?: 0} in ${finished.size()} sample${finished.size() == 1 ? '' : 's'}")
        def stages = finished.values().collectMany { all -> all.seconds.keySet() }.unique()
        def seconds = stages.collect { stage -> [stage, finished.values().sum { all -> all.seconds[stage] ?: 0 }] }
        if (seconds) {
            println("Seconds: ${seconds.collect { stage, sum -> String.format(Locale.ROOT, '%s %.1f', stage, sum as double) }.join(', ')}")
        }
        notes.each { note -> println("WARNING: ${note}") }
    }
    if (failed || !workflow.success) {
        def last_words = workflow.success ? failed : said_of_stop()
        // Nextflow has more to log after this: wait until it is really over
        Runtime.getRuntime().addShutdownHook(new Thread({ -> System.err.println("\n${last_words}") }))
    }
}
