// Looks at everything that can be wrong, and fixes what there is to do: the phase that all others
// take their tasks from.

include { folder_of } from '../outdir'
include { faults_of ; lines_of ; pack_of ; pack_size } from '../packs'
include { in_order } from '../paths'
include { CHECK } from '../processes/check'
include { FETCH } from '../processes/fetch'
include { PLAN } from '../processes/plan'
include { REFUSE } from '../processes/refuse'
include { quoted } from '../shell'
include { fault_in ; is_one_task ; needs_given ; needs_of ; seconds_of ; tasks_of } from '../tables'

workflow PREPARE {
    take:
    sources // [source, what is given of it]; a source may hold several samples
    params_file // all parameters of the run, JSON
    outdir // where results go, to be checked, or ''
    second // whether this is the run that finds the cells of the second network

    main:
    CHECK(
        sources
            .toList()
            .flatMap { all -> packs_of(all) }
            .map { some -> checking(some, outdir, second) },
        params_file
    )
    // what was understood of the images
    CHECK.out.said.filter { text -> text.trim() && !second }.map { text -> text.trim() }.view()
    checked = CHECK.out.lines
        .flatMap { jobs, lines, _faults, _complete -> rows_of(lines, jobs.size()) }
        .map { row -> tuple(row.source, row) }
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
        def tables = [left].flatten()
        [sample: sample, row: row, given: given, network: network, plan: plan, store: store, tables: tables, fault: fault_in(tables)]
    }
    // of a sample that failed beside others, or whose tables of tasks are damaged, nothing is left out in
    // silence, nor are the others stopped
    REFUSE(
        CHECK.out.lines
            .flatMap { jobs, lines, faults, complete -> faults_of(jobs, lines, faults, complete) }
            .mix(planned.filter { one -> one.fault }.map { one -> tuple(one.sample, one.fault) })
    )
    runs = planned.filter { one -> !one.fault }.map { one ->
        tuple(one.sample, described(one.row, one.given) + [network: one.network, plan: one.plan] + stored(one.store) + tasks_and_needs(one.row, one.tables))
    }

    emit:
    runs
}

// Sources that CHECK looks at together. Code of the user's may do anything to the process that runs it.
def packs_of(sources) {
    def size = pack_size(sources.size())
    return sources.groupBy { name, given -> given.read_once ? name : '' }.values().collectMany { some -> some.collate(size) }
}

// What CHECK takes of samples: [source, what is given of it] of each. `outdir` is the folder of results, or
// ''; `second` whether this is the run that finds the cells of the second network.
def checking(sources, outdir, second) {
    // an image has a copy of the package, which is compared with that of the workflow
    def source_option = workflow.containerEngine ? "--source ${quoted("${projectDir}/bin/terapose")}" : ''
    def second_option = second ? '--second' : ''
    def commands = sources.collect { sample, given ->
        def output_option = outdir ? "--output ${quoted("${outdir}/${folder_of(sample)}")}" : ''
        "check ${quoted(given.address)} --sample ${quoted(sample)} --params-file ../params.json --own ${quoted(groovy.json.JsonOutput.toJson(given.own))} --lines sample.tsv ${output_option} ${second_option} ${source_option}"
    }
    def files = sources.collect { _sample, given -> given }
    return tuple(
        sources.collect { sample, _given -> [sample: sample] },
        lines_of(commands),
        files.collectMany { given -> given.image }.unique(),
        files.collectMany { given -> given.models }.unique(),
        files.collectMany { given -> given.beside + given.read_once }.unique()
    )
}

// The lines of CHECK, of as many sources as it looked at: a sample each, with those it goes on with.
def rows_of(lines, sources) {
    def rows = in_order(lines).collectMany { file -> file.splitCsv(header: true, sep: '\t') }
    return rows.collate(Math.max(sources, pack_size(rows.size()))).collectMany { some ->
        some.collect { row -> row + [runs: row.runs.tokenize(' '), pack: pack_of(some.collect { one -> one.sample })] }
    }
}

// What is known of a sample before it is planned.
def described(row, given) {
    return [
        sample: row.sample,
        address: given.address,
        image: given.image,
        // names of the stages that are asked for
        runs: row.runs,
        // the samples that it shares tasks with (packs.nf)
        pack: row.pack,
        // the columns of the line of CHECK; those with names of stages are the code and parameters of
        // these, as words of a command line
        words: row.findAll { name, _words -> !(name in ['plan', 'memory', 'runs', 'pack']) },
        // files of an earlier run that this one does not write: they would be of other cells
        stale: row.stale ? row.stale.tokenize(' ') : [],
    ]
}

// What the plan's tables say: the tasks of each stage that is asked for, and what they ask for; and whether
// one task does all of it, in how many seconds.
def tasks_and_needs(row, tables) {
    def tasks = tasks_of(row.runs, tables)
    def needs = needs_given(needs_of(tables), row.memory)
    return [tasks: tasks, needs: needs, is_one_task: is_one_task(tasks, needs, row.max_memory), seconds: seconds_of(tables)]
}

// The store's address, and how often results of its tasks were damaged (bin/terapose/pipeline/repair.py).
def stored(store) {
    def folder = store.resolve('again')
    def notes = folder.exists() ? folder.listFiles().toList() : []
    return [store: store.toUriString(), damage: notes.collectEntries { note -> [note.name, note.size()] }]
}
