#!/bin/sh
# Checks what docs/guest.md says of a guest, with nothing but the shell: a line for each thing that is not so.
wrong=0
no() { echo "not so: $*"; wrong=1; }
is() { [ "$2" = "$3" ] || no "$1 is '$2', not '$3'"; }

# Who runs, where, and how.
while read -r name value _; do
    case $name in
    Uid:) is "the user" "$value" 0 ;;
    PPid:) is "the parent" "$value" 1 ;;
    SigBlk: | SigIgn:) is "$name" "$value" 0000000000000000 ;;
    CapEff:) case $value in *ffffffffff) ;; *) no "capabilities $value" ;; esac ;;
    Cpus_allowed_list:) is "the processors" "$value" 0 ;;
    esac
done </proc/self/status
read -r line && no "standard input has '$line'"
is "the path" "$PATH" /payload/bin:/usr/bin:/bin
is "the home" "$HOME" /tmp
is "the terminal" "$TERM" linux
is "the payload" "$HOOKLAB_PAYLOAD" /payload
[ -n "$LD_LIBRARY_PATH" ] || no "no LD_LIBRARY_PATH"
is "a variable of the kernel's command line" "${raid-none}" none
is "the umask" "$(umask)" 0022

# File systems.
has() {
    while read -r _ target kind _; do
        [ "$target $kind" = "$1 $2" ] && return
    done </proc/mounts
    no "$2 is not mounted on $1"
}
has /dev devtmpfs
has /dev/pts devpts
has /dev/shm tmpfs
has /proc proc
has /sys sysfs
has /sys/fs/bpf bpf
has /sys/fs/cgroup cgroup2
has /sys/kernel/debug debugfs
has /sys/kernel/security securityfs
has /sys/kernel/tracing tracefs
has /tmp tmpfs
[ -c /dev/ptmx ] || no "no /dev/ptmx"
for directory in . / /tmp /var/tmp /dev/shm /run /etc; do
    echo >"$directory/written" || no "$directory is not writable"
done
[ -e /dev/fd/1 ] && [ -e /dev/stdout ] || no "no /dev/fd"

# Users, groups, names.
find() { while read -r line; do case $line in "$1"*) return ;; esac; done <"$2"; no "$2 has no $1"; }
find root:x:0:0: /etc/passwd
find nobody:x:65534: /etc/passwd
find root:x:0: /etc/group
find "127.0.0.1 localhost" /etc/hosts
find "::1 localhost" /etc/hosts
find "hosts: files" /etc/nsswitch.conf

# The loopback interface, and no other that is up.
read -r flags </sys/class/net/lo/flags
[ $((flags & 1)) = 1 ] || no "lo is down"

# Limits.
is "open files" "$(ulimit -n)" 1024
is "the stack" "$(ulimit -s)" 8192
while read -r name value _; do
    [ "$name" = MemTotal: ] && { [ "$value" -gt 200000 ] && [ "$value" -lt 262144 ] || no "memory of $value kB"; }
done </proc/meminfo

[ $wrong = 0 ] && echo all of it
exit $wrong
