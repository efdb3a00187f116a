// What comes from outside, on its way into a script.

// One word of a shell command, whatever is in it.
def quoted(value) {
    return "'" + value.toString().replace("'", "'\\''") + "'"
}
