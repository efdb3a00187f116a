// Calls what lists the samples for each case of a JSON file, and writes what it answers: samples, or
// the sentence with which it refuses; and lists that Python has, too.

include { file_parameters ; listed ; marks } from '../../modules/samples'

def answer(input, stack) {
    try {
        return listed(input, stack).collect { name, address, own -> [name, address, own] }
    }
    catch (Exception fault) {
        return root(fault).message
    }
}

def root(fault) {
    return fault.cause ? root(fault.cause) : fault
}

workflow {
    def cases = new groovy.json.JsonSlurper().parse(file(params.cases))
    def answers = cases.collect { one -> answer(one[0], one[1]) }
    def found = [answers: answers, file_parameters: file_parameters(), marks: marks()]
    file(params.answers).text = groovy.json.JsonOutput.toJson(found)
}
