// Tries to hold each folder of a list, and writes what came of it: held, or the sentence with which it
// is refused. Those that it holds it keeps until it is killed.

include { hold } from '../../modules/lock'

def root(fault) {
    return fault.cause ? root(fault.cause) : fault
}

def answer(folder) {
    try {
        def release = hold(folder)
        if (folder.endsWith('released')) {
            release.call()
        }
        return 'held'
    }
    catch (Exception fault) {
        return root(fault).message
    }
}

workflow {
    def answers = params.folders.tokenize(',').collectEntries { folder -> [folder, answer(folder)] }
    def place = file(params.answers)
    file("${place}.new").text = groovy.json.JsonOutput.toJson(answers)
    file("${place}.new").renameTo(place.toString())
    sleep(600000)
}
