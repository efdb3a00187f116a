// Says of each table of a folder whether it is whole, and which tasks all of them hold; then what is
// wrong with them as the tables of a plan, which they are not.

include { fault_in ; is_intact ; needs_of ; tasks_of } from '../../modules/tables'

workflow {
    def tables = file(params.tables).listFiles().toList()
    def whole = tables.findAll { table -> is_intact(table) }
    def answers = [
        whole: tasks_of(whole.collect { table -> table.baseName }, whole),
        needs: needs_of(whole),
        unasked: tasks_of([], whole),
        fault: fault_in(tables),
    ]
    file(params.answers).text = groovy.json.JsonOutput.toJson(answers)
}
