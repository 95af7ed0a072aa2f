//! What a program is called: in short, and where its command line calls it something else.

use super::Process;
use crate::shown::base_name;
use crate::trail::{Program, Text};

/// Whether a system has its own files there.
pub(crate) fn is_of_system(path: &str) -> bool {
    const PLACES: [&str; 6] = ["/usr/", "/lib/", "/lib32/", "/lib64/", "/bin/", "/sbin/"];
    let windows = path.get(..11).unwrap_or_default();
    // What has no path was never a file anywhere: the kernel's own pages, memory.
    PLACES.iter().any(|place| path.starts_with(place))
        || windows
            .get(1..)
            .is_some_and(|rest| rest.eq_ignore_ascii_case(":\\windows\\"))
        || !path.contains(['/', '\\'])
}

/// What the program is, where its command line names another: its image's name, or the whole path where
/// that is none of the system's own. `None` where they agree.
///
/// Whoever starts a program chooses its first argument. That of a link's name, of a login shell or of a
/// program with its version agrees: `sh` is `dash`, `python3` is `python3.11`.
pub(super) fn other_name(program: &Program) -> Option<&str> {
    let image = program.image.as_ref().map(Text::shown)?;
    // Windows has no links that programs are started by.
    if !image.starts_with('/') {
        return None;
    }
    let arguments = program.arguments.as_deref().unwrap_or_default();
    let said = match (arguments.first(), &program.command_line) {
        (Some(first), _) => first.shown(),
        (None, Some(line)) => line.shown().split_whitespace().next().unwrap_or_default(),
        (None, None) => return None,
    };
    let (name, called) = (base_name(image), called(said));
    let is_own = is_of_system(image) && !program.image_deleted;
    let agrees = if is_own {
        !called.is_empty() && (name.contains(called) || called.contains(name))
    } else {
        said == image || (!called.is_empty() && name.starts_with(called))
    };
    (!agrees).then_some(if is_own { name } else { image })
}

/// The name in a first argument: a program may have written what it does behind it (`sshd: ada [priv]`), and
/// a login shell begins with `-`.
fn called(said: &str) -> &str {
    let said = said.split(": ").next().unwrap_or_default();
    base_name(said).trim_start_matches('-').trim()
}

/// What a process is called where there is little room: its program and the argument that says on what.
pub(crate) fn short(process: &Process) -> String {
    short_of(&process.program, Some(process))
}

pub(crate) fn short_of(program: &Program, process: Option<&Process>) -> String {
    /// Characters of an argument.
    const ARGUMENT_COUNT_MAX: usize = 32;
    let file = program.script.as_ref().or(program.image.as_ref());
    let Some(file) = file else {
        return process.map_or_else(|| "?".to_owned(), |process| process.title().into_owned());
    };
    let mut short = base_name(file.shown()).to_owned();
    // The first is the program, and of a script's the second the script.
    let skipped = 1 + usize::from(program.script.is_some());
    let arguments = program.arguments.as_deref().unwrap_or_default();
    let rest = arguments.get(skipped..).unwrap_or_default();
    if let Some(argument) = telling(rest) {
        short.push_str(if rest.len() > 1 { " … " } else { " " });
        let shown = argument.shown();
        let shown = if shown.contains(' ') {
            shown
        } else {
            base_name(shown)
        };
        let cut: String = shown.chars().take(ARGUMENT_COUNT_MAX).collect();
        short.push_str(&cut);
        if cut.len() < shown.len() {
            short.push('…');
        }
    }
    short
}

/// The argument that most likely says what a program works on: the last that is no option's value, as far
/// as one can see without knowing the program, else the last that is not its output, else the last.
fn telling(arguments: &[Text]) -> Option<&Text> {
    let follows = |is_wanted: fn(&str) -> bool| {
        let operand = move |index: &usize| {
            let before = index.checked_sub(1).map(|before| arguments[before].shown());
            let is_operand = !arguments[*index].shown().starts_with('-');
            is_operand && before.is_none_or(is_wanted)
        };
        (0..arguments.len()).rev().find(operand)
    };
    let found = follows(|before| !before.starts_with('-')).or_else(|| follows(|it| it != "-o"));
    found
        .map(|index| &arguments[index])
        .or_else(|| arguments.last())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn program(image: &str, first: &str) -> Program {
        Program {
            image: Some(Text::from(image)),
            arguments: Some(Arc::from([Text::from(first), Text::from("x")])),
            ..Program::default()
        }
    }

    #[test]
    fn a_program_that_is_called_another_is_named() {
        let cases = [
            ("/memfd:x", "[kworker/u8:2]", Some("/memfd:x")),
            ("/tmp/x", "sshd: root [priv]", Some("/tmp/x")),
            ("/tmp/x", "", Some("/tmp/x")),
            ("/home/ada/updater", "./updater", None),
            ("/opt/py/bin/python3.11", "python3", None),
            ("/usr/bin/dash", "/bin/sh", None),
            ("/usr/bin/bash", "-bash", None),
            ("/usr/sbin/sshd", "sshd: ada [priv]", None),
            ("/usr/bin/x86_64-linux-gnu-gcc-12", "cc", None),
            ("/usr/bin/python3.11", "/opt/venv/bin/python", None),
            ("/usr/bin/perl", "[kworker/0:1]", Some("perl")),
            ("/usr/lib/systemd/systemd", "/sbin/init", Some("systemd")),
            ("C:\\Windows\\explorer.exe", "x", None),
        ];
        for (image, first, expected) in cases {
            let program = program(image, first);
            assert_eq!(other_name(&program), expected, "{image} as {first}");
        }
    }

    #[test]
    fn where_there_are_no_arguments_the_command_line_is_asked() {
        let mut program = program("/tmp/x", "");
        program.arguments = None;
        assert_eq!(other_name(&program), None);
        program.command_line = Some(Text::from("[kthreadd] x"));
        assert_eq!(other_name(&program), Some("/tmp/x"));
        program.command_line = Some(Text::from("/tmp/x y"));
        assert_eq!(other_name(&program), None);
    }

    #[test]
    fn what_was_deleted_is_nothing_of_the_systems() {
        let mut program = program("/usr/bin/dash", "sh");
        program.image_deleted = true;
        assert_eq!(other_name(&program), Some("/usr/bin/dash"));
    }

    #[test]
    fn what_a_system_has_of_its_own_is_told_from_what_it_has_not() {
        let own = [
            "/usr/lib/libc.so.6",
            "/lib64/ld.so",
            "C:\\Windows\\System32\\ntdll.dll",
            "[vdso]",
        ];
        assert!(own.iter().all(|path| is_of_system(path)));
        let foreign = [
            "/opt/x/libfoo.so",
            "/tmp/usr/lib/x.so",
            "D:\\x.dll",
            "é:\\Windows\\x.dll",
        ];
        assert!(!foreign.iter().any(|path| is_of_system(path)));
    }

    fn with_arguments(image: &str, arguments: &[&str]) -> Program {
        Program {
            arguments: Some(arguments.iter().map(|text| Text::from(*text)).collect()),
            ..program(image, "")
        }
    }

    #[test]
    fn a_short_name_tells_the_program_and_what_it_works_on() {
        let short = |image, arguments: &[&str]| short_of(&with_arguments(image, arguments), None);
        let cc1 = [
            "cc1",
            "-quiet",
            "-D",
            "X",
            "src/f.c",
            "-dumpbase",
            "f.c",
            "-o",
            "/tmp/cc.s",
        ];
        assert_eq!(short("/usr/lib/cc1", &cc1), "cc1 … f.c");
        assert_eq!(
            short("/usr/bin/gcc-12", &["gcc", "-c", "a.c", "-o", "a.o"]),
            "gcc-12 … a.c"
        );
        assert_eq!(short("/bin/sleep", &["sleep", "0.2"]), "sleep 0.2");
        assert_eq!(short("/bin/ls", &["ls", "-l"]), "ls -l");
        assert_eq!(short("/bin/true", &["true"]), "true");
        assert_eq!(
            short("C:\\Windows\\cmd.exe", &["cmd", "/c", "dir"]),
            "cmd.exe … dir"
        );
        let long = "x".repeat(100);
        assert_eq!(short("/bin/echo", &["echo", &long]).chars().count(), 38);
        let script = Program {
            script: Some(Text::from("/opt/deploy.py")),
            ..with_arguments("/usr/bin/python3", &["python3", "/opt/deploy.py", "now"])
        };
        assert_eq!(short_of(&script, None), "deploy.py now");
        assert_eq!(short_of(&Program::default(), None), "?");
    }
}
