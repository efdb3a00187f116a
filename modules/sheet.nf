// Samplesheets as spreadsheets and editors write them: with commas, semicolons or tabs, quotes, a
// byte order mark, any end of line, and headers in upper or lower case. `terapose segment` reads them
// in the same way (bin/terapose/io/text_tables.py).

include { refuse ; shown } from './refusals'

// [number of the line, cells by the names of their columns] of each line that is not empty.
def sheet_rows(path) {
    def lines = sheet_text(path).split(/\r\n|\r|\n/).toList()
    def told = lines[0] =~ /(?i)^ *"?sep=([,;\t])"? *$/
    def head = lines.findIndexOf(told ? 1 : 0) { line -> line =~ /[^,;\t ]/ }
    def header = head < 0 ? '' : lines[head]
    def separator = told ? told[0][1] : separator_of(header)
    def columns = columns_of(header, separator)
    refuse_columns(path, columns)
    return lines.withIndex(1)
        .drop(head < 0 ? lines.size() : head + 1)
        .collect { text, number -> [number, cells_of(text, separator, "${path.name}, line ${number}")] }
        .findAll { _number, cells -> cells.any() }
        .collect { number, cells -> [number, by_column(columns, cells, "${path.name}, line ${number}")] }
}

// The text of a file in UTF-8, or in UTF-16 as Excel's "Unicode text" is.
def sheet_text(path) {
    def bytes = java.nio.file.Files.readAllBytes(path)
    def charset = java.nio.charset.Charset.forName(encoding_of(bytes.toList().take(65536)))
    try {
        return charset.newDecoder().decode(java.nio.ByteBuffer.wrap(bytes)).toString().replaceFirst(/^\uFEFF/, '')
    }
    catch (java.nio.charset.CharacterCodingException _fault) {
        refuse("${path.name}: is not text in UTF-8; save it as CSV in UTF-8")
    }
}

// UTF-16 has a byte order mark, or bytes of 0, which no other text has: of most letters the high one.
def encoding_of(bytes) {
    if (bytes.take(2)*.intValue().toSorted() == [-2, -1]) {
        return bytes.drop(2).take(2)*.intValue() == [0, 0] ? 'UTF-32' : 'UTF-16'
    }
    if (bytes.every { one -> one != 0 }) {
        return 'UTF-8'
    }
    def (even, odd) = [0, 1].collect { side -> bytes.indexed().count { n, one -> n % 2 == side && one == 0 } }
    return odd >= even ? 'UTF-16LE' : 'UTF-16BE'
}

// The separator with which a header has the columns that are needed; else the one that parts most.
def separator_of(header) {
    def separators = [',', ';', '\t']
    return separators.find { one -> columns_of(header, one).containsAll(['sample', 'image']) }
        ?: separators.max { one -> header.count(one) }
}

// Names of columns as those of parameters: `Min size` is min_size.
def columns_of(header, separator) {
    def known = (['sample', 'image'] + parameters()).collectEntries { name -> [plain(name), name] }
    return cells_of(header, separator, null).collect { name -> known[plain(name)] ?: name }
}

// A name without what people write now one way, now another.
def plain(name) {
    return name.toLowerCase().replaceAll(/[ _\t\u00a0-]/, '')
}

// Names of all parameters.
def parameters() {
    def schema = new groovy.json.JsonSlurper().parse(file("${moduleDir}/../nextflow_schema.json", glob: false))
    return schema['$defs'].values().collectMany { group -> group.properties.keySet() }
}

def refuse_columns(path, columns) {
    def named = columns.findAll()
    def missing = ['sample', 'image'].findAll { name -> !(name in columns) }
    if (missing) {
        def got = named ? "the columns ${shown(named.join(', '))}" : 'no columns'
        refuse(
            "${path.name}: no column${missing.size() > 1 ? 's' : ''} ${missing.join(' and ')}; got ${got}; " +
                "allowed: sample, image and names of parameters, separated by commas, semicolons or tabs"
        )
    }
    def doubled = named.countBy { name -> name }.findAll { _name, number -> number > 1 }.keySet()
    if (doubled) {
        refuse("${path.name}: several columns with the same name; got ${shown(doubled.join(', '))}")
    }
}

// The cells of a line, without blanks around them, and with quotes as CSV has them. Where it is to be
// refused, `where` says which line it is.
def cells_of(line, separator, where) {
    def quoted_text = '"((?:[^"]++|"")*+)"'
    def cell = "\\G *(?:${quoted_text} *|([^${separator}]*))${separator}"
    return (line + separator).findAll(cell) { _all, text, bare ->
        if (where && text == null && bare.startsWith('"')) {
            refuse("${where}: a quote is not closed; got ${shown(bare)}")
        }
        return text == null ? bare.trim() : text.replace('""', '"').trim()
    }
}

// The filled cells of a line.
def by_column(columns, cells, where) {
    def beyond = cells.drop(columns.size()).findAll()
    if (beyond) {
        refuse("${where}: more cells than columns; got ${shown(beyond.join(', '))}; put quotes around a cell that contains the separator")
    }
    def filled = [columns.take(cells.size()), cells].transpose().findAll { _name, value -> value }
    def nameless = filled.find { name, _value -> !name }
    if (nameless) {
        refuse("${where}: a cell in a column without a name; got ${shown(nameless[1])}")
    }
    return filled.collectEntries { name, value -> [name, value] }
}
