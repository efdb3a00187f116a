// The tables of tasks that a plan leaves: tasks_csv in bin/terapose/pipeline/needs.py.

include { scattered } from './stages'

// What is wrong with the tables of a plan, in a sentence; nothing if they are whole. It is for a process
// to fail with it (processes/refuse.nf): an error that is raised here would stop all samples.
def fault_in(tables) {
    def missing = scattered() + ['whole'] - tables.collect { table -> table.baseName }
    def damaged = tables.findAll { table -> !is_intact(table) }
    def said = missing ? "${missing[0]}.csv: is not among the plan's tables of tasks" : damaged ? "${damaged[0]}: is damaged" : ''
    return said ? "terapose: ${said}; run again without -resume to recreate it" : ''
}

// Whether a table is as it was written. Each row goes on where the one before ended, and the last row
// says where all of them end; what a task asks for is the same in all of them. So rows that are missing,
// doubled or changed are noticed: a stage of which all rows were lost would be left out in silence.
def is_intact(table) {
    def lines = table.readLines()
    def count = [lines.size() - 2, 0].max()
    def stops = lines.collect { line -> line.tokenize(',')[2] }
    def starts = ['0'] + stops.drop(1)
    def needs = asked_in(lines).findAll { number -> number ==~ /\d+/ }.join(',')
    def rows = (0..<count).collect { n -> "${n},${starts[n]},${stops[n + 1]},${needs}".toString() }
    return lines == [columns().join(',')] + rows + ["all,0,${starts[count]},${needs}".toString()]
}

// The columns of a table. Those from the fourth on are what a task asks for.
def columns() {
    return ['task', 'first', 'stop', 'memory', 'seconds', 'cpus', 'gpus']
}

// What tasks ask for, as the last row of a table says it.
def asked_in(lines) {
    return lines ? lines.last().tokenize(',').drop(3) : []
}

// [stage: what each of its tasks asks for]: bytes of memory, seconds, processors and GPUs.
def needs_of(tables) {
    return tables.collectEntries { table ->
        def numbers = asked_in(table.readLines()).collect { number -> number as long }
        [table.baseName, [columns().drop(3), numbers].transpose().collectEntries()]
    }
}

// The same with the memory that CHECK has projected, which knows the parameters of all stages:
// 'stage=bytes' of some, and nothing where it has not made the plan.
def needs_given(needs, memory) {
    def given = (memory ?: '').tokenize(' ').collectEntries { text -> text.tokenize('=') }
    return needs.collectEntries { stage, asked ->
        [stage, stage in given ? asked + [memory: given[stage] as long] : asked]
    }
}

// [stage: numbers of its tasks] of the stages that are asked for, none of the others; and of `whole`, which
// does all of these.
def tasks_of(asked, tables) {
    return tables.collectEntries { table ->
        def stage = table.baseName
        [stage, stage in asked + ['whole'] ? (0..<table.readLines().size() - 2).toList() : []]
    }
}

// Seconds that one task should take that does all of a sample: these are the items of `whole`
// (tasks_of_whole in bin/terapose/pipeline/needs.py).
def seconds_of(tables) {
    return tables.find { table -> table.baseName == 'whole' }.readLines().last().tokenize(',')[2] as long
}

// Whether one task does all of a sample: the plan is small, no cells of a second network have to be waited
// for, and the task needs no more than `max_memory` (GB).
def is_one_task(tasks, needs, max_memory) {
    def fits = needs.whole.memory <= max_memory.toBigDecimal() * 1_000_000_000
    return params.single_task.toString() == 'true' && tasks.whole && !tasks.cell_overlaps && fits
}
