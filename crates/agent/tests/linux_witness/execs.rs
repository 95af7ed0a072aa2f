//! Paths and arguments of programs, as the kernel had them and not as somebody reads them later:
//! every program here has ended before the recorder can look.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{execve, fexecve};

use crate::lives::{Life, Lives};
use crate::recorder::{Plan, Recorder, Recording, Row};
use crate::witness::{Machine, directory, own_process_id, tiny_program};
use crate::workload::Facts;

/// The most bytes of arguments that a recorder keeps, as promised.
const ARGUMENTS_SIZE_MAX: usize = 32 * 1024;

/// Records what `act_fn` does in a directory that has the tiny program in it.
pub(crate) fn record<T>(
    act_fn: impl FnOnce(&Path, &Path) -> T,
) -> (T, Recording, tempfile::TempDir) {
    let directory = directory();
    let inside = fs::canonicalize(directory.path()).unwrap();
    let program = tiny_program(&inside);
    let recorder = Recorder::start(&inside, Plan::default());
    let result = act_fn(&inside, &program);
    (result, recorder.stop(), directory)
}

/// Starts a program, waits for its end, and says which process it was.
pub(crate) fn run(command: &mut Command) -> i32 {
    let mut child = command.spawn().unwrap();
    let process_id = i32::try_from(child.id()).unwrap();
    child.wait().unwrap();
    process_id
}

/// What the recording says of the program this process started under that id.
pub(crate) fn exec_of<'a>(lives: &Lives<'a>, process_id: i32) -> &'a Row {
    let exec = lives.one(own_process_id(), process_id).exec();
    assert!(!exec.missing.contains_key("image"), "{exec:?}");
    assert!(
        !exec.truncated.iter().any(|field| field == "image"),
        "{exec:?}"
    );
    exec
}

#[test]
fn the_image_is_the_file_however_it_is_named() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let (witness, recording, _directory) = record(|directory, program| {
        let odd_name = OsStr::from_bytes(b"new\nline \"quoted\" \\ \x1b[31m \xff\xfe \xf0\x9f");
        let odd = copy(program, &directory.join(odd_name));
        let deep = copy(program, &long_path(directory));
        let link = directory.join("link");
        symlink(program, &link).unwrap();
        let relative = copy(program, &directory.join("relative"));
        let spaced = copy(program, &directory.join("a (deleted)"));
        vec![
            (run(&mut Command::new(program)), program.to_owned()),
            (run(&mut Command::new(&odd)), odd),
            (run(&mut Command::new(&deep)), deep),
            (run(&mut Command::new(&link)), program.to_owned()),
            (
                run(Command::new("./relative").current_dir(directory)),
                relative,
            ),
            (run(&mut Command::new(&spaced)), spaced),
        ]
    });
    let lives = Lives::of(&recording);
    for (process_id, path) in witness {
        let exec = exec_of(&lives, process_id);
        let image = exec.image_bytes().unwrap();
        assert_eq!(OsStr::from_bytes(&image), path.as_os_str());
        assert!(!exec.image_deleted);
        let exit = lives.one(own_process_id(), process_id).exit();
        assert_eq!(exit.image_bytes().unwrap(), image);
    }
}

#[test]
fn the_image_of_a_deleted_file_is_where_it_was() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let ((facts, path), recording, _directory) = record(|directory, program| {
        let path = copy(program, &directory.join("gone"));
        (Facts::of("exec_deleted", &[&path]), path)
    });
    let lives = Lives::of(&recording);
    let exec = last_exec(lives.one(own_process_id(), facts.process_id));
    assert_eq!(exec.image.as_deref(), path.to_str());
    assert!(exec.image_deleted, "{exec:?}");
}

#[test]
fn the_image_of_a_file_in_memory_is_its_name() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let (facts, recording, _directory) = record(|_, program| Facts::of("exec_memory", &[program]));
    let lives = Lives::of(&recording);
    let exec = last_exec(lives.one(own_process_id(), facts.process_id));
    assert_eq!(exec.image.as_deref(), Some("/memfd:in memory"));
    assert!(exec.image_deleted, "{exec:?}");
    assert_eq!(exec.arguments_bytes(), [b"in memory"]);
}

#[test]
fn a_script_is_told_with_its_interpreter() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let (witness, recording, _directory) = record(|directory, program| {
        let interpreter = program.to_str().unwrap();
        let script = script(&directory.join("script"), interpreter);
        let nested = script_of(&directory.join("nested"), &script);
        vec![
            (run(&mut Command::new(&script)), script.clone()),
            (run(Command::new("./script").current_dir(directory)), script),
            (run(&mut Command::new(&nested)), nested),
            (run(&mut Command::new(program)), PathBuf::new()),
        ]
    });
    let lives = Lives::of(&recording);
    for (process_id, script) in witness {
        let exec = exec_of(&lives, process_id);
        assert!(exec.image.as_ref().unwrap().ends_with("/tiny"), "{exec:?}");
        let told = exec.script_bytes().unwrap_or_default();
        assert_eq!(OsStr::from_bytes(&told), script.as_os_str());
    }
}

#[test]
fn arguments_are_told_byte_for_byte() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let cases: [&[&[u8]]; 6] = [
        &[],
        &[b""],
        &[b"", b"", b"after two empty ones"],
        &[
            b"two words",
            b"a \"quote\"",
            b"back\\slash",
            b"new\nline",
            b"\x1b[31m",
            b"\x7f",
        ],
        &[b"\xff\xfe", b"valid", b"cut \xe2\x82", b"\xed\xa0\x80"],
        &["größe".as_bytes(), "名前".as_bytes(), "\u{2028}".as_bytes()],
    ];
    let (process_ids, recording, _directory) = record(|_, program| {
        cases.map(|arguments| {
            let arguments = arguments.iter().map(|argument| OsStr::from_bytes(argument));
            run(Command::new(program).arg0("name").args(arguments))
        })
    });
    let lives = Lives::of(&recording);
    for (process_id, arguments) in process_ids.into_iter().zip(cases) {
        let exec = exec_of(&lives, process_id);
        let witness = [&[&b"name"[..]], arguments].concat();
        assert_eq!(exec.arguments_bytes(), witness);
        assert_eq!(exec.command_line_bytes().unwrap(), witness.join(&b' '));
        assert!(exec.truncated.is_empty(), "{exec:?}");
    }
}

#[test]
fn arguments_beyond_32_kib_are_cut_and_said_to_be() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let many = |size: usize| vec!["0123456789abcdef-".to_owned(); size / 18];
    let cases = [
        (many(ARGUMENTS_SIZE_MAX - 1_000), false),
        (many(ARGUMENTS_SIZE_MAX + 1_000), true),
        (many(1_000_000), true),
        (vec!["x".repeat(ARGUMENTS_SIZE_MAX - 1_000)], false),
        (vec!["x".repeat(100_000)], true),
        // The size at which the root sample's allocation size wrapped.
        (vec!["x".repeat(32_744)], true),
    ];
    let (process_ids, recording, _directory) = record(|_, program| {
        cases
            .each_ref()
            .map(|(arguments, _)| run(Command::new(program).arg0("name").args(arguments)))
    });
    let lives = Lives::of(&recording);
    for (process_id, (arguments, _)) in process_ids.into_iter().zip(&cases) {
        let exec = exec_of(&lives, process_id);
        let mut witness = b"name\0".to_vec();
        for argument in arguments {
            witness.extend_from_slice(argument.as_bytes());
            witness.push(0);
        }
        let told = exec.arguments_bytes().join(&0);
        let is_cut = exec.truncated.iter().any(|field| field == "arguments");
        assert_eq!(
            is_cut,
            witness.len() > ARGUMENTS_SIZE_MAX,
            "{}",
            witness.len()
        );
        let size = witness.len().min(ARGUMENTS_SIZE_MAX) - 1;
        assert!(told.len() >= size, "{} of {}", told.len(), witness.len());
        assert!(
            told[..size] == witness[..size],
            "{} of {}",
            told.len(),
            witness.len()
        );
    }
}

#[test]
fn a_program_without_any_argument_is_told() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let (facts, recording, _directory) =
        record(|_, program| Facts::of("exec_without_arguments", &[program]));
    let lives = Lives::of(&recording);
    let exec = last_exec(lives.one(own_process_id(), facts.process_id));
    // Linux 5.18 and later put an empty one there; older kernels leave the list empty.
    let arguments = exec.arguments_bytes();
    assert!(arguments.is_empty() || arguments == [b""], "{exec:?}");
}

/// A role's process executes twice: the role, then what the role is about.
pub(crate) fn last_exec<'a>(life: &Life<'a>) -> &'a Row {
    assert_eq!(life.execs.len(), 2, "{life:#?}");
    life.execs[1]
}

/// Role: executes a file that has no name any more.
pub(crate) fn exec_deleted(path: &Path) {
    let file = File::open(path).unwrap();
    fs::remove_file(path).unwrap();
    exec_file(&file, c"deleted");
}

/// Role: executes a file that never had a name.
pub(crate) fn exec_memory(program: &Path) {
    let mut file = File::from(memfd_create(c"in memory", MFdFlags::MFD_CLOEXEC).unwrap());
    file.write_all(&fs::read(program).unwrap()).unwrap();
    exec_file(&file, c"in memory");
}

/// Role: executes a program with an empty list of arguments.
pub(crate) fn exec_without_arguments(program: &Path) {
    let none: [&CStr; 0] = [];
    let Err(error) = execve(&c_string(program), &none, &none);
    panic!("{error}");
}

fn exec_file(file: &File, name: &CStr) {
    let none: [&CStr; 0] = [];
    let Err(error) = fexecve(file, &[name], &none);
    panic!("{error}");
}

/// A path for system calls.
pub(crate) fn c_string(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

fn copy(program: &Path, to: &Path) -> PathBuf {
    fs::copy(program, to).unwrap();
    to.to_owned()
}

fn script(path: &Path, interpreter: &str) -> PathBuf {
    fs::write(path, format!("#!{interpreter}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}

fn script_of(path: &Path, interpreter: &Path) -> PathBuf {
    script(path, interpreter.to_str().unwrap())
}

/// A path of 3,900 bytes in directories made for it.
fn long_path(directory: &Path) -> PathBuf {
    const SIZE: usize = 3_900;
    const NAME_SIZE: usize = 120;
    let mut path = OsString::from(directory);
    while path.len() + 2 * NAME_SIZE < SIZE {
        path.push("/");
        path.push("d".repeat(NAME_SIZE));
    }
    fs::create_dir_all(&path).unwrap();
    path.push("/");
    path.push("p".repeat(SIZE - path.len()));
    assert_eq!(path.len(), SIZE);
    path.into()
}
