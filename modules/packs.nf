// Samples that share tasks: where starting a program takes longer than its work, one does that of several
// samples, one after another (`terapose stage each`), each in a folder of its own: out1, out2 and so on.
// Which samples are together follows from the order in which they are given: -resume finds the same tasks.
//
// Their tuples begin with [sample, run], and run.pack says with how many others a sample is together. Where
// one of these is missing, because it failed, the others wait until no more samples can come. What a task is
// given begins with the jobs, a map for each sample, which goes through it: so what it leaves can be told
// apart.

include { folder_of } from './outdir'

// How many of so many samples share a task: few programs, and enough of them for many processors.
def pack_size(count) {
    return Math.max(1, Math.min(8, Math.sqrt(count) as int))
}

// What `run.pack` is of samples that go on together.
def pack_of(samples) {
    return [name: samples[0], size: samples.size()]
}

// Lists of the tuples of samples that are together.
def together(samples) {
    return samples
        .map { all -> tuple(groupKey(all[1].pack.name, all[1].pack.size), all) }
        .groupTuple(remainder: true)
        .map { _key, pack -> pack.toSorted { all -> all[0] } }
}

// Parts of a pack whose stages one task runs: those with the same network, of which it keeps one, for two
// minutes at most, as far as one alone does not take longer. Code of the user's may change what others see.
def in_parts(pack) {
    def parts = pack.groupBy { sample, run -> 'process_cells' in run.runs ? sample : run.network }.values()
    return parts.collectMany { part ->
        part.inject([]) { so_far, one ->
            def fits = so_far && (so_far.last() + [one]).sum { _sample, run -> run.seconds } <= 120
            fits ? so_far.dropRight(1) + [so_far.last() + [one]] : so_far + [[one]]
        }
    }
}

// What `terapose stage each` reads: the words of one command for each sample.
def lines_of(commands) {
    return commands.withIndex(1).collect { words, n -> "out${n} ${words}\n" }.join('')
}

// The shell's line that runs them. From the second attempt on each command has another process; in the last,
// one that is killed fails alone. (When an attempt is the last, conf/base.config says. `maxRetries` not as a
// property: that would ask for the error strategy before there is an error.)
def one_by_one(task) {
    def limit = task.resourceLimits?.memory as nextflow.util.MemoryUnit
    def is_last = task.attempt > Math.min(2, (task.get('maxRetries') ?: 0) as int) || limit && task.memory == limit
    def options = "${task.attempt > 1 || is_last ? ' --apart' : ''}${is_last ? ' --last' : ''}"
    return "terapose.py --threads ${task.cpus} stage each${options}"
}

// The same with the words in the script.
def script_of(task, commands) {
    return "${one_by_one(task)} << 'END'\n${lines_of(commands)}END\ntouch complete\n"
}

// The shell's lines that put the files of each sample, staged one after another as laid1/..., laid2/... and
// so on, into a folder; `job.files` is how many a sample has.
def folders_of(jobs, name) {
    def stops = jobs.inject([0]) { so_far, job -> so_far + [so_far.last() + job.files] }
    return jobs.withIndex(1).collect { job, n ->
        def link = "; ln -sfn \"\$PWD\"/${name}{${stops[n - 1] + 1}..${stops[n]}}/* out${n}/${name}"
        "mkdir -p out${n}/${name}${job.files ? link : ''}\n"
    }.join('')
}

// What a task of several samples asks for: the most that one of them does. That is time enough for all: what
// one is given for its start is more than ten times as long as their work may take (in_parts).
def needs_of_all(jobs) {
    return jobs[0].needs.collectEntries { name, _number -> [name, jobs.collect { job -> job.needs[name] }.max()] }
}

// How a task is called that is of several samples.
def tag_of(jobs) {
    def all = jobs.collect { job -> job.sample }.join(', ')
    return jobs.size() == 1 || all.size() <= 60 ? all : "${jobs[0].sample} and ${jobs.size() - 1} more"
}

// Those of the files that are in the folder of a sample, or in one of its folders.
def of_sample(files, number) {
    return files.findAll { file -> "out${number}".toString() in [file.parent.name, file.parent.parent.name] }
}

// [sample, sentence] of samples of which a command failed while others went on, or has left nothing, because
// it was removed. `complete` is an output that -resume looks for: without it the task is not taken for done,
// for a full disk may have room by then.
def faults_of(jobs, left, faults, complete) {
    def faulty = jobs.withIndex(1).findAll { _job, n -> is_faulty(n, left, faults) }
    if (faulty) {
        complete.delete()
    }
    return faulty.collect { job, n ->
        def said = of_sample(faults, n).collect { file -> file.text }
        [job.sample, "${said ? said[0] : 'terapose: what was left by the task is gone; run again with -resume'} (task in ${complete.parent})".toString()]
    }
}

// [sample, number, pack] of the others.
def done_of(jobs, left, faults) {
    def done = jobs.withIndex(1).findAll { _job, n -> !is_faulty(n, left, faults) }
    def pack = done ? pack_of(done.collect { job, _n -> job.sample }) : [:]
    return done.collect { job, n -> [job.sample, n, pack] }
}

def is_faulty(number, left, faults) {
    return of_sample(faults, number) || !of_sample(left, number)
}

// Summaries of the samples of which there are results as well.
def with_results(summaries, files) {
    def folders = files.collect { file -> file.parent.parent.name } as Set
    return summaries.findAll { summary -> summary.parent.name in folders }
}

// Where a file of a sample goes in the folder of results; nowhere what is not in a folder of results.
def place_of(jobs, name) {
    def parts = name.tokenize('/')
    def is_result = parts.size() > 1 && parts.last() != 'fault'
    return is_result ? "${folder_of(jobs[parts[0].drop(3).toInteger() - 1].sample)}/${parts.last()}".toString() : null
}
