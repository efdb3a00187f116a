// The tables of tasks that a plan leaves: tasks_csv in bin/terapose/pipeline/plan.py.

include { scattered } from './stages'

// What is wrong with the tables of a plan, in a sentence; nothing if they are whole. It is for a process
// to fail with it (processes/refuse.nf): an error that is raised here would stop all samples.
def fault_in(tables) {
    def missing = scattered() - tables.collect { table -> table.baseName }
    def damaged = tables.findAll { table -> !is_whole(table) }
    def said = missing ? "${missing[0]}.csv: is not among the plan's tables of tasks" : damaged ? "${damaged[0]}: is damaged" : ''
    return said ? "terapose: ${said}; run again without -resume to recreate it" : ''
}

// Whether a table is as it was written. Each row goes on where the one before ended, and the last row
// says where all of them end. So rows that are missing, doubled or changed are noticed: a stage of which
// all rows were lost would be left out in silence.
def is_whole(table) {
    def lines = table.readLines()
    def stops = lines.collect { line -> line.substring(line.lastIndexOf(',') + 1) }
    def starts = ['0'] + stops.drop(1)
    def count = [lines.size() - 2, 0].max()
    def rows = (0..<count).collect { n -> "${n},${starts[n]},${stops[n + 1]}".toString() }
    return lines == ['task,first,stop'] + rows + ["all,0,${starts[count]}".toString()]
}

// [stage: numbers of its tasks] of the stages that are asked for; none of the others.
def tasks_of(asked, tables) {
    return tables.collectEntries { table ->
        def stage = table.baseName
        [stage, stage in asked ? (0..<table.readLines().size() - 2).toList() : []]
    }
}

// Whether one task does all of a sample: no stage has several, and no cells of a second network have to
// be waited for.
def is_one_task(tasks) {
    def is_small = tasks.every { _stage, numbers -> numbers.size() < 2 }
    return params.single_task.toString() == 'true' && is_small && !tasks.cell_overlaps
}
