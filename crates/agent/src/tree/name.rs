//! What a program is called, where its command line calls it something else.

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
}
