// One run at a time in the folder of results: the same file, by the same rules, that
// bin/terapose/io/lock.py keeps there. It is made in one step, touched every 20 seconds, and counts for
// nothing once its process is gone, or has not touched it for 180 seconds.

include { partial_name } from './paths'
include { refuse } from './refusals'

// Hold a folder until the run is over; returns what ends it. There is nothing to hold in an object
// store, and of a folder that cannot be written to CHECK says why.
def hold(outdir) {
    def folder = outdir ? file(outdir, glob: false).toFile() : null
    folder?.mkdirs()
    if (!folder?.isDirectory() || !folder.canWrite()) {
        return { -> }
    }
    def file = folder.toPath().resolve('.terapose.lock')
    def me = groovy.json.JsonOutput.toJson(
        [
            host: host(),
            system: system(),
            process: ProcessHandle.current().pid(),
            started: started(ProcessHandle.current().pid()),
            since: new Date().format('yyyy-MM-dd HH:mm:ss'),
        ]
    )
    claim(file, me, 20)
    def timer = new Timer(true)
    timer.schedule({ -> beat(file, me) } as TimerTask, 20000, 20000)
    return { ->
        timer.cancel()
        if (is_file(file) && file.text == me) {
            file.delete()
        }
    }
}

// Make the file of a folder that nobody holds.
def claim(file, me, tries) {
    if (made(file, me)) {
        return
    }
    clear(file)
    if (tries == 1) {
        refuse_held(file, said(file))
    }
    claim(file, me, tries - 1)
}

// Make a file in one step; whether there was none.
def made(file, text) {
    try {
        java.nio.file.Files.writeString(file, text, java.nio.file.StandardOpenOption.CREATE_NEW)
        return true
    }
    catch (java.nio.file.FileAlreadyExistsException _fault) {
        return false
    }
}

// Remove the file of a run that is gone; stop if it is not. Only one at a time looks and removes:
// another run may have the file by now.
def clear(file) {
    def holder = said(file)
    if (holder == null) {
        return
    }
    if (!is_gone(file, holder)) {
        refuse_held(file, holder)
    }
    def only = file.resolveSibling("${file.name}.old".toString())
    if (!made(only, '')) {
        refuse_odd(only)
        if (age(only) > 180) {
            java.nio.file.Files.deleteIfExists(only)
        }
        sleep(100)
        return
    }
    def now = said(file)
    if (now != null && is_gone(file, now)) {
        java.nio.file.Files.deleteIfExists(file)
    }
    java.nio.file.Files.deleteIfExists(only)
}

def refuse_held(file, holder) {
    def known = ['process', 'host', 'since'].collectEntries { name -> [name, holder?.get(name) ?: '?'] }
    refuse("${file.parent}: another run is writing here; got process ${known.process} on ${known.host}, since ${known.since}; wait for it, or choose another folder (if that process no longer exists, remove ${file.name})")
}

// Stop where a folder, a link, a pipe or a device has the name of a file of ours: no run has made it.
def refuse_odd(file) {
    if (is_there(file) && !is_file(file)) {
        refuse("${file}: was not made by a run, and no run can use the folder while it is there; got ${kind(file)}; allowed: a file; remove it, or choose another folder")
    }
}

def is_there(file) {
    return java.nio.file.Files.exists(file, java.nio.file.LinkOption.NOFOLLOW_LINKS)
}

def is_file(file) {
    return java.nio.file.Files.isRegularFile(file, java.nio.file.LinkOption.NOFOLLOW_LINKS)
}

def kind(file) {
    def mode = java.nio.file.Files.getAttribute(file, 'unix:mode', java.nio.file.LinkOption.NOFOLLOW_LINKS)
    def kinds = [(0040000): 'a folder', (0120000): 'a symbolic link', (0010000): 'a pipe']
    return kinds[mode & 0170000] ?: 'a device or socket'
}

// What a file says; null where there is none, empty where it is being written.
def said(file) {
    refuse_odd(file)
    try {
        def holder = new groovy.json.JsonSlurper().parseText(file.text)
        return holder instanceof Map ? holder : [:]
    }
    catch (java.nio.file.NoSuchFileException _fault) {
        return null
    }
    catch (Exception _fault) {
        return [:]
    }
}

def host() {
    def name = new File('/proc/sys/kernel/hostname')
    return name.exists() ? name.text.trim() : InetAddress.localHost.hostName
}

// What distinguishes systems, and containers in them, that have the same host name.
def system() {
    def booted = new File('/proc/sys/kernel/random/boot_id')
    def space = new File('/proc/self/ns/pid').toPath()
    if (!booted.exists() || !java.nio.file.Files.isSymbolicLink(space)) {
        return null
    }
    return "${booted.text.trim()} ${java.nio.file.Files.readSymbolicLink(space)}".toString()
}

// When a process of this machine started; null where there is none of this number.
def started(process) {
    def stat = new File("/proc/${process}/stat")
    if (stat.exists()) {
        return stat.text.tokenize(')').last().tokenize()[19]
    }
    def can_tell = new File('/proc/self/stat').exists()
    return !can_tell && ProcessHandle.of(process as long).present ? 'running' : null
}

// Whether the run that holds a folder is gone.
def is_gone(file, holder) {
    def here = holder.host == host() && (holder.system == null || holder.system == system())
    if (here && holder.process instanceof Number) {
        def now = started(holder.process)
        return now == null || now != holder.started
    }
    return age(file) > 180
}

// Seconds since a file was touched, by the clock of its file system: that of a file made for it.
def age(file) {
    def now = clock(file)
    return file.exists() ? (now - modified(file)) / 1000 : 0
}

// Say that the run is still there, by the same clock, unless another one has the folder by now. A fault
// of the disk that passes (a full one, a server that does not answer) would end the timer.
def beat(file, me) {
    try {
        if (is_file(file) && file.text == me) {
            def now = java.nio.file.attribute.FileTime.fromMillis(clock(file))
            java.nio.file.Files.setLastModifiedTime(file, now)
        }
    }
    catch (IOException _fault) {
        return
    }
}

def clock(file) {
    def probe = file.resolveSibling(partial_name())
    java.nio.file.Files.createFile(probe)
    def now = modified(probe)
    java.nio.file.Files.deleteIfExists(probe)
    return now
}

def modified(file) {
    return java.nio.file.Files.getLastModifiedTime(file).toMillis()
}
