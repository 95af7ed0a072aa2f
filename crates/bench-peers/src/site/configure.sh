#!/bin/sh
# Looks at the C compiler and library as configure scripts do: small programs are written, compiled,
# and what is found is put into a header with sed. Every answer is real.
set -u
directory=$1
mkdir -p "$directory" && cd "$directory" || exit 1
rm -f conftest* config.h config.log
: > config.h.in
found=0

note() { echo "$1" >> config.log; }

result() {
    name=$(echo "$1" | sed 'y/abcdefghijklmnopqrstuvwxyz./ABCDEFGHIJKLMNOPQRSTUVWXYZ_/;s,/,_,g')
    if test "$2" = yes; then
        echo "#define HAVE_$name 1" >> config.h.in
        found=$(expr "$found" + 1)
    else
        echo "/* #undef HAVE_$name */" >> config.h.in
    fi
    note "checking for $1... $2"
}

compiles() { cc -c -o conftest.o conftest.c 2>> config.log; }
links() { cc -o conftest conftest.c 2>> config.log; }

check_header() {
    echo "#include <$1>" > conftest.c
    if cc -E conftest.c > conftest.i 2>> config.log && grep -q "$1" conftest.i; then
        result "$1" yes
    else
        result "$1" no
    fi
}

check_function() {
    printf 'char %s(void);\nint main(void) { return %s(); }\n' "$1" "$1" > conftest.c
    if links && test -s conftest; then result "$1" yes; else result "$1" no; fi
}

check_type() {
    printf '#include <%s>\nint size[sizeof(%s) > 0 ? 1 : -1];\n' "$2" "$1" > conftest.c
    if compiles; then result "$1" yes; else result "$1" no; fi
}

check_program() {
    if path=$(command -v "$1"); then
        case $(basename "$path") in
        "$1") result "$1" yes ;;
        *) result "$1" no ;;
        esac
    else
        result "$1" no
    fi
}

for program in awk cat cc cp cut expr grep head install ld ln make mkdir mktemp mv nosuch printf \
    ranlib rm sed sh sort strip tail test touch tr uname uniq wc xargs; do
    check_program "$program"
done
for header in assert.h ctype.h dirent.h dlfcn.h errno.h fcntl.h float.h inttypes.h limits.h \
    locale.h math.h nosuch.h poll.h pthread.h sched.h setjmp.h signal.h stdarg.h stdbool.h \
    stddef.h stdint.h stdio.h stdlib.h string.h strings.h sys/mman.h sys/socket.h sys/stat.h \
    sys/time.h sys/types.h sys/wait.h termios.h time.h unistd.h wchar.h windows.h; do
    check_header "$header"
done
for function in abs atoi bcopy calloc dup2 fork getcwd getpid gettimeofday isatty kill malloc \
    memchr memcpy memmove mmap nosuch pipe poll putenv read realloc rename select setenv \
    sigaction snprintf strchr strdup strerror strlen strstr strtol time unlink vfork write; do
    check_function "$function"
done
for type in 'int stdio.h' 'size_t stddef.h' 'pid_t sys/types.h' 'uint64_t stdint.h' \
    'nosuch_t stdint.h' 'time_t time.h' 'off_t sys/types.h' 'wchar_t wchar.h'; do
    # shellcheck disable=SC2086
    check_type $type
done

sed -e "s/^#define \(.*\) 1$/#define \1 (1)/" config.h.in > config.h
count=$(grep -c '^#define' config.h)
lines=$(wc -l < config.log | tr -d ' ')
test "$count" -eq "$found" && test "$found" -gt 60 && test "$lines" -gt 100
