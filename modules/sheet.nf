// Samplesheets as spreadsheets and editors write them: with commas, semicolons or tabs, quotes, a
// byte order mark, any end of line, and headers in upper or lower case.

include { refuse } from './shell'

// [number of the line, cells by the names of their columns] of each line that is not empty.
def sheet_rows(path) {
    def lines = sheet_text(path).split(/\r\n|\r|\n/).toList()
    def first = lines[0] ==~ /(?i)"?sep=."?/ ? 1 : 0
    def separator = separator_of(lines[first] ?: '')
    def columns = columns_of(lines[first] ?: '', separator)
    refuse_columns(path, columns)
    return lines.withIndex(1)
        .drop(first + 1)
        .collect { text, number -> [number, cells_of(text, separator, "${path.name}, line ${number}")] }
        .findAll { _number, cells -> cells.any() }
        .collect { number, cells -> [number, by_column(columns, cells, "${path.name}, line ${number}")] }
}

// The text of a file in UTF-8, or in UTF-16 as Excel's "Unicode text" is.
def sheet_text(path) {
    def bytes = java.nio.ByteBuffer.wrap(java.nio.file.Files.readAllBytes(path))
    def marks = bytes.limit() > 1 ? [bytes.get(0) & 0xff, bytes.get(1) & 0xff].toSorted() : []
    def charset = java.nio.charset.Charset.forName(marks == [0xfe, 0xff] ? 'UTF-16' : 'UTF-8')
    try {
        return charset.newDecoder().decode(bytes).toString().replaceFirst(/^\uFEFF/, '')
    }
    catch (java.nio.charset.CharacterCodingException _fault) {
        refuse("${path.name}: is not text in UTF-8; save it as CSV in UTF-8")
    }
}

// The separator with which a header has the columns that are needed; else the one that parts most.
def separator_of(header) {
    def separators = [',', ';', '\t']
    return separators.find { one -> columns_of(header, one).containsAll(['sample', 'image']) }
        ?: separators.max { one -> header.count(one) }
}

// Names of columns as those of parameters: `Min size` is min_size.
def columns_of(header, separator) {
    return cells_of(header, separator, null).collect { name -> name.toLowerCase().replaceAll(/[\s-]+/, '_') }
}

def refuse_columns(path, columns) {
    def named = columns.findAll()
    def missing = ['sample', 'image'].findAll { name -> !(name in columns) }
    if (missing) {
        def got = named ? "the columns ${named.join(', ')}" : 'no columns'
        refuse(
            "${path.name}: no column${missing.size() > 1 ? 's' : ''} ${missing.join(' and ')}; got ${got}; " +
                "allowed: sample, image and names of parameters, parted by commas, semicolons or tabs"
        )
    }
    def doubled = named.findAll { name -> named.count(name) > 1 }.unique()
    if (doubled) {
        refuse("${path.name}: several columns of one name; got ${doubled.join(', ')}")
    }
}

// The cells of a line, without blanks around them, and with quotes as CSV has them. Where it is to be
// refused, `where` says which line it is.
def cells_of(line, separator, where) {
    def quoted_text = '"((?:[^"]++|"")*+)"'
    def cell = "\\G *(?:${quoted_text} *|([^${separator}]*))${separator}"
    return (line + separator).findAll(cell) { _all, text, bare ->
        if (where && text == null && bare.startsWith('"')) {
            refuse("${where}: a quote is not closed; got ${bare}")
        }
        return text == null ? bare.trim() : text.replace('""', '"').trim()
    }
}

// The filled cells of a line.
def by_column(columns, cells, where) {
    def beyond = cells.drop(columns.size()).findAll()
    if (beyond) {
        refuse("${where}: more cells than columns; got ${beyond.join(', ')}; put quotes around a cell that has the separator in it")
    }
    def filled = [columns.take(cells.size()), cells].transpose().findAll { _name, value -> value }
    def nameless = filled.find { name, _value -> !name }
    if (nameless) {
        refuse("${where}: a cell in a column without a name; got ${nameless[1]}")
    }
    return filled.collectEntries { name, value -> [name, value] }
}
