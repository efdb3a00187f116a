// What tasks are given, and what follows from what they leave. Two kinds of channels meet here:
//
//   runs      [sample, run]; a run is a map of all that is known of a sample: its plan and store, the
//             tasks and the parameters of each stage, its image and network (phases/prepare.nf)
//   summaries [sample, summary]: what a stage leaves for those after it, here `before` them
//
// A job is a map of the values in a task's script. It holds no more of a run than the stage needs,
// because -resume compares all of it, and no files, because Nextflow would not stage them.

include { in_parts ; together } from './packs'
include { reading } from './stages'

// The job of a task, or of a stage that has a single one. What the first asks for was projected with
// the plan; the second asks for what its label does (conf/base.config).
def job(run, stage, task = null) {
    def note = task == null ? stage : "${stage}.${task}"
    def needs = task == null ? [:] : [needs: run.needs[stage]]
    return needs + [
        sample: run.sample,
        stage: stage,
        task: task,
        store: renewed(run, note),
        args: run.words[command(stage)],
    ]
}

// The command of a stage: the passes of the network have one.
def command(stage) {
    return stage.replaceFirst(/-(yx|zx|zy)$/, '')
}

// The store's address for a task: another one, to Nextflow, each time its results were damaged, so
// that it runs again (bin/terapose/pipeline/repair.py).
def renewed(run, note) {
    def times = run.damage[note.toString()]
    return times ? "${run.store}?again=${times}".toString() : run.store
}

// Samples of which a stage has tasks.
def having(runs, stage) {
    return runs.filter { _sample, run -> run.tasks[stage].size() > 0 }
}

// Samples of which a stage has none.
def lacking(runs, stage) {
    return runs.filter { _sample, run -> run.tasks[stage].size() == 0 }
}

// Samples that ask for a stage without tasks of its own (a gather, or one before the plan or after the
// results), whatever their tuples hold beside [sample, run]: CHECK has said which stages run.
def asking(samples, stage) {
    return samples.filter { all -> stage in all[1].runs }
}

// Nothing, for every sample, in the place of summaries or receipts.
def nothing(runs) {
    return runs.map { sample, _run -> tuple(sample, []) }
}

// [run, job, summary] for each task of a stage, once the summary before it is there.
def scatter(runs, stage, before) {
    return runs.join(before).flatMap { _sample, run, summary ->
        note_needs(stage, run.needs[stage])
        run.tasks[stage].collect { task -> tuple(run, job(run, stage, task), summary) }
    }
}

// Note the most that a task of a stage has asked for so far: a job array knows nothing of the tasks in it, nor
// of `ext`, and finds it there (conf/base.config).
def note_needs(stage, needs) {
    needs.each { name, number ->
        def key = "terapose.needs.${stage.toUpperCase().replace('-', '_')}.${name}".toString()
        System.properties.merge(key, number.toString()) { known, other -> [known, other].max { one -> one as Long } }
    }
}

// The image's files for a stage that reads it; to others they are no input.
def image_for(run, stage) {
    return stage in reading() ? run.image : []
}

// What BLOCKS takes.
def blocks(runs, stage, before) {
    return scatter(runs, stage, before).map { run, job, summary -> tuple(job, run.plan, summary, image_for(run, stage)) }
}

// What GRADIENTS takes.
def passes(runs, stage, before) {
    return scatter(runs, stage, before).map { run, job, summary ->
        tuple(job, run.plan, summary, run.network, run.image)
    }
}

// What WHOLE takes: samples that are done by one task each, or together. It lays results out, so it is run
// again where FINISH would be.
def in_one_task(runs) {
    return together(runs.filter { _sample, run -> run.is_one_task })
        .flatMap { pack -> in_parts(pack) }
        .map { part ->
            def all = part.collect { _sample, run -> run }
            def jobs = all.collect { run -> job(run, 'whole') + [needs: run.needs.whole, store: renewed(run, 'finish')] }
            tuple(jobs, all.collect { run -> run.plan }, all[0].network, all.collectMany { run -> run.image }.unique())
        }
}

// What DECIDE takes.
def decision(runs, stage, before, received) {
    return runs.join(before).join(received).map { _sample, run, summary, list ->
        tuple(job(run, stage), run.plan, summary, list, image_for(run, stage))
    }
}

// What GATHER takes of a stage, with the summary that the stage came after.
def gathering(runs, stage, before, left) {
    return having(runs, stage).join(before).join(receipts(runs, stage, left)).map { _sample, run, summary, list ->
        def own = [store: renewed(run, "gather.${stage}"), args: run.words["gather-${command(stage)}".toString()]]
        tuple(job(run, stage) + own, run.plan, summary, list)
    }
}

// [sample, receipts] once all receipts of a stage are in; none of a sample without tasks.
def receipts(runs, stage, left) {
    return left
        .combine(having(runs, stage).map { sample, run -> tuple(sample, run.tasks[stage].size()) }, by: 0)
        .map { sample, receipt, count -> tuple(groupKey(sample, count), receipt) }
        .groupTuple()
        .map { key, list -> tuple(key.toString(), list.toSorted { receipt -> receipt.name }) }
        .mix(nothing(lacking(runs, stage)))
}

// [sample, summary] after a stage: its own, or the one before it where a sample has no tasks of it.
def after(runs, stage, before, own) {
    return lacking(runs, stage).map { sample, _run -> tuple(sample) }.join(before).mix(own)
}
