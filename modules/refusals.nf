// What ends a run before anything is done, with one sentence.

// Stop with one sentence.
def refuse(sentence) {
    error("terapose: ${sentence}")
}

// A text as it is quoted in a sentence, not endless: as `shown` in bin/terapose/core/errors.py.
def shown(text) {
    return text.length() > 1000 ? "${text.take(980)} ... (${text.length()} characters)" : text
}

// Stop where a text has line breaks or other control characters: they go through no table or log.
def refuse_control(what, text) {
    if (text.toString() =~ /\p{Cntrl}/) {
        refuse("${what}: got ${text.toString().inspect()}, allowed: no control characters")
    }
}

// Stop where Nextflow itself would give a folder to the shell unquoted.
def refuse_folder(what, folder, strange) {
    refuse_control(what, folder)
    def found = folder.toString().findAll(strange).unique()
    if (found) {
        refuse("${what}: ${folder} cannot be used by Nextflow; got ${found.join(' ')} in its path; rename a folder")
    }
}
