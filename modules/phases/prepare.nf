// Looks at everything that can be wrong, and fixes what there is to do: the phase that all others
// take their tasks from.

include { CHECK } from '../processes/check'
include { FETCH } from '../processes/fetch'
include { PLAN } from '../processes/plan'
include { REFUSE } from '../processes/refuse'
include { fault_in ; is_one_task ; needs_given ; needs_of ; tasks_of } from '../tables'

workflow PREPARE {
    take:
    sources // [source, what is given of it]; a source may hold several samples
    params_file // all parameters of the run, JSON
    outdir // where results go, to be checked, or ''
    second // whether this is the run that finds the cells of the second network

    main:
    CHECK(
        sources.map { name, given ->
            tuple(name, "${given.address}\n${groovy.json.JsonOutput.toJson(given.own)}".toString(), given.image, given.models, given.beside + given.read_once)
        },
        params_file,
        outdir,
        second,
        // an image has a copy of the package, which is used there
        workflow.containerEngine ? "${projectDir}/bin/terapose".toString() : ''
    )
    // what was understood of the image
    CHECK.out.said.filter { text -> text.trim() && !second }.map { text -> text.trim() }.view()
    checked = CHECK.out.lines
        .splitCsv(header: true, sep: '\t')
        .map { row -> tuple(row.source, row + [runs: row.runs.tokenize(' ')]) }
        .combine(sources, by: 0)
        .map { _source, row, given -> tuple(row.sample, row, given) }

    networks = checked.map { _sample, row, given -> tuple(row.network, row.fetch, given.models) }
    FETCH(networks.unique { name, _fetch, _models -> name })
    // whose network it is, and under which licence: once
    FETCH.out.said.map { line -> line.trim() }.unique().view()
    fetched = checked
        .map { sample, row, given -> tuple(row.network, sample, row, given) }
        .combine(FETCH.out.network, by: 0)
        .map { _name, sample, row, given, network -> tuple(sample, row, given, network) }

    PLAN(fetched.map { sample, row, given, network -> tuple(sample, row.plan, row.identity, given.image, network, given.beside) })
    // the diameter of cells, where it was looked for
    PLAN.out.said
        .map { sample, said -> tuple(sample, said.text.trim()) }
        .filter { _sample, text -> text }
        .view { sample, text -> "${sample}: ${text}" }
    planned = fetched.join(PLAN.out.planned).map { sample, row, given, network, plan, store, left ->
        tuple(sample, fault_in([left].flatten()), row, given, network, plan, store, [left].flatten())
    }
    // of a sample whose tables of tasks are damaged nothing is left out in silence, nor are the others stopped
    REFUSE(planned.map { all -> all.take(2) }.filter { _sample, fault -> fault })
    runs = planned.filter { all -> !all[1] }.map { sample, _fault, row, given, network, plan, store, tables ->
        tuple(sample, described(row, given) + [network: network, plan: plan] + stored(store) + tasks_and_needs(row, tables))
    }

    emit:
    runs
}

// What is known of a sample before it is planned.
def described(row, given) {
    return [
        sample: row.sample,
        address: given.address,
        image: given.image,
        // names of the stages that are asked for
        runs: row.runs,
        // the columns of the line of CHECK; those with names of stages are the code and parameters of
        // these, as words of a command line
        words: row.findAll { name, _words -> !(name in ['plan', 'memory', 'runs']) },
        // files of an earlier run that this one does not write: they would be of other cells
        stale: row.stale ? row.stale.tokenize(' ') : [],
    ]
}

// What the plan's tables say: the tasks of each stage that is asked for, and what they ask for; and whether
// one task does all of it.
def tasks_and_needs(row, tables) {
    def tasks = tasks_of(row.runs, tables)
    def needs = needs_given(needs_of(tables), row.memory)
    return [tasks: tasks, needs: needs, is_one_task: is_one_task(tasks, needs, row.max_memory)]
}

// The store's address, and how often results of its tasks were damaged (bin/terapose/pipeline/repair.py).
def stored(store) {
    def folder = store.resolve('again')
    def notes = folder.exists() ? folder.listFiles().toList() : []
    return [store: store.toUriString(), damage: notes.collectEntries { note -> [note.name, note.size()] }]
}
