// Parameters as samples take them: with files by their absolute paths, because tasks run in folders
// of their own.

include { as_path ; is_url ; reachable ; staged } from './paths'

// Names of the parameters that are networks.
def networks() {
    return ['model', 'cell_model']
}

// Names of the parameters that may be files beside the image: a table of markers, a mask of tissue.
def beside() {
    return ['markers', 'region']
}

// Names of the parameters that may be files of which only CHECK reads the content.
def read_once() {
    return ['process']
}

// Parameters whose files have absolute paths.
def absolute(values) {
    def files = networks()
        .findAll { name -> own_networks(values[name]) }
        .collectEntries { name ->
            [name, listed_networks(values[name]).collect { one -> plain_file(one) ?: one }.join(',')]
        }
    def tables = beside().collectEntries { name -> [name, local_file(values[name])?.toString()] }
    tables += read_once().collectEntries { name -> [name, plain_file(values[name])?.toString()] }
    tables = tables.findAll { _name, path -> path }
    return values + files + tables
}

// The networks that a parameter names: a file, or several with commas between them.
def listed_networks(value) {
    if (!value || plain_file(value)) {
        return value ? [value] : []
    }
    return value.toString().tokenize(',').collect { name -> name.trim() }
}

// The local files among them, to be staged.
def own_networks(value) {
    return listed_networks(value).collect { name -> plain_file(name) }.findAll().collectMany { path -> staged(path) }
}

// The local files beside the image, to be staged.
def own_beside(values) {
    return beside().collect { name -> local_file(values[name]) }.findAll().collectMany { path -> staged(path) }
}

// The same of files that CHECK alone reads: to other processes they are no input.
def own_read_once(values) {
    return read_once().collect { name -> plain_file(values[name]) }.findAll().collectMany { path -> staged(path) }
}

// Whether these parameters ask for the cells of a second network.
def has_second(values) {
    // a diameter of 0 is to be found
    return values.any { name, value -> name.startsWith('cell_') && (value || value == 0) }
}

// The local file that a parameter names, or null.
def local_file(value) {
    if (!value || is_url(value)) {
        return null
    }
    def path = as_path(value)
    return path.exists() ? reachable(path) : null
}

// The same of a parameter that may be a name as well: a folder of that name, as of its results, is none.
def plain_file(value) {
    def path = local_file(value)
    return path && !path.isDirectory() ? path : null
}
