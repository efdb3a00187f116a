// Paths as people give them: a name is a name, whatever is in it, and a pattern only where nothing has
// that name.

include { refuse } from './refusals'

// Whether an address is on a server or in an object store.
def is_url(address) {
    return address.toString().contains('://')
}

// The absolute path that a text names, which need not exist.
def as_path(text) {
    return file(text.toString().replaceFirst(/^~(?=\/)/) { _home -> System.getProperty('user.home') }, glob: false)
}

// The path itself, or the nearest one above it that exists.
def existing(path) {
    return path.exists() ? path : existing(path.parent)
}

// A name that nothing has, for a file that is there for a moment.
def partial_name() {
    return ".${UUID.randomUUID().toString().replace('-', '')}.partial".toString()
}

// Whether a path that does not exist can be a pattern.
def is_pattern(path) {
    return !path.exists() && path.toString() =~ /[*?\[{]/
}

// All that a pattern matches, in natural order. The part of it that exists is no pattern; names for
// axes, as in img_{z}_{c}.tif, stand for any text.
def matching(path) {
    def folder = existing(path.parent)
    def literal = folder.toString().replaceAll(/[*?\[\]{}\\]/) { sign -> "\\${sign}" }
    def pattern = folder.relativize(path).toString().replaceAll(/(?i)\{[tcz]\}/, '*')
    try {
        return in_order(files("${literal}/${pattern}", type: 'any'))
    }
    catch (java.util.regex.PatternSyntaxException _fault) {
        refuse("${path}: no such file, and not a pattern; check the path")
    }
}

// Paths in natural order: image 9 before image 10.
def in_order(paths) {
    return paths.toSorted { path -> path.toString().replaceAll(/\d+/) { digits -> digits.padLeft(20, '0') } }
}

// A path as tasks reach it: in a container, without the links in it, whose folders it would lack.
def reachable(path) {
    if (!workflow.containerEngine) {
        return path
    }
    def there = existing(path)
    def beyond = there.relativize(path).toString()
    return beyond ? there.toRealPath().resolve(beyond) : there.toRealPath()
}

// What is staged of a path, so that containers see it: itself, or the file it goes on in. Nextflow
// gives $, braces and wildcards to the shell as they are; a name with them is not staged, and where
// there are containers a folder above it is.
def staged(path) {
    def there = existing(path)
    return there == path || there.isFile() ? [stageable(there)].findAll() : []
}

def stageable(path) {
    if (!path || path.toString() ==~ /[^$*?\[{]+/) {
        return path
    }
    return workflow.containerEngine ? stageable(path.parent) : null
}
