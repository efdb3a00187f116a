// Says of each table of a folder whether it is whole, and which tasks all of them hold; then what is
// wrong with them as the tables of a plan, which they are not.

include { fault_in ; is_intact ; is_one_task ; needs_given ; needs_of ; tasks_of } from '../../modules/tables'

workflow {
    def tables = file(params.tables).listFiles().toList()
    def whole = tables.findAll { table -> is_intact(table) }
    def answers = [
        whole: tasks_of(whole.collect { table -> table.baseName }, whole),
        needs: needs_of(whole),
        given: ['a=600', '', null].collect { memory -> needs_given([a: [memory: 500, cpus: 1], b: [memory: 700]], memory) },
        unasked: tasks_of([], whole),
        fault: fault_in(tables),
        one_task: ['2', '1.9', '1e+03'].collect { limit -> is_one_task([whole: [0]], [whole: [memory: 2_000_000_000L]], limit) },
        several: is_one_task([whole: []], [whole: [memory: 0L]], '8.0'),
        waits: is_one_task([whole: [0], cell_overlaps: [0]], [whole: [memory: 0L]], '8.0'),
    ]
    file(params.answers).text = groovy.json.JsonOutput.toJson(answers)
}
