//! In whose tree a path is told: programs in a root, a mount namespace or a mount of their own.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::linux::fs::MetadataExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::stat::{major, minor};
use nix::unistd::{chroot, execve};

use crate::execs::{c_string, exec_of, last_exec, record, run};
use crate::lives::Lives;
use crate::raw;
use crate::recorder::{Kind, Row};
use crate::witness::{Machine, own_process_id};
use crate::workload::{Role, command, command_of};

/// The row of what a role executed.
fn executed<'a>(lives: &Lives<'a>, process_id: i32) -> &'a Row {
    last_exec(lives.one(own_process_id(), process_id))
}

/// Plays a role to its end; the tiny program ends with the first byte of its script.
fn play(role: &str, arguments: &[&Path]) -> i32 {
    run(&mut command(role, arguments))
}

/// The device and the inode of a file, as the trail tells them.
fn file_of(path: &Path) -> (Option<String>, Option<u64>) {
    let file = fs::metadata(path).unwrap();
    let (major, minor) = (major(file.st_dev()), minor(file.st_dev()));
    (Some(format!("{major}:{minor}")), Some(file.st_ino()))
}

fn script(path: &Path, interpreter: &str) -> PathBuf {
    fs::write(path, format!("#!{interpreter}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}

/// A program in a chroot was told by the host's path, and its script by the jail's.
#[test]
fn a_program_and_its_script_in_a_chroot_have_the_hosts_paths() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let (process_id, recording, directory) = record(|directory, _| {
        script(&directory.join("script"), "/tiny");
        play("exec_in_chroot", &[directory, Path::new("/script")])
    });
    let inside = fs::canonicalize(directory.path()).unwrap();
    let lives = Lives::of(&recording);
    let exec = executed(&lives, process_id);
    assert_eq!(exec.image.as_deref(), inside.join("tiny").to_str());
    assert_eq!(exec.script.as_deref(), inside.join("script").to_str());
    assert_eq!((&exec.path_scope, &exec.script_scope), (&None, &None));
    let (device, inode) = file_of(&inside.join("tiny"));
    assert_eq!((&exec.device, exec.inode), (&device, inode));
}

/// A user's own file under the path of the system's was told as the system's.
#[test]
fn a_file_of_another_mount_namespace_is_marked() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let (process_ids, recording, directory) = record(|directory, program| {
        let target = directory.join("target");
        fs::write(&target, "").unwrap();
        let planted = play("exec_in_namespace", &[program, &target]);
        (planted, run(&mut Command::new(program)))
    });
    let inside = fs::canonicalize(directory.path()).unwrap();
    let lives = Lives::of(&recording);
    let exec = executed(&lives, process_ids.0);
    assert_eq!(exec.image.as_deref(), inside.join("target").to_str());
    assert_eq!(exec.path_scope.as_deref(), Some("mount_namespace"));
    assert!(exec.mount_namespace.is_some(), "{exec:?}");
    let (device, inode) = file_of(&inside.join("tiny"));
    assert_eq!((&exec.device, exec.inode), (&device, inode));
    let plain = exec_of(&lives, process_ids.1);
    assert_eq!((&plain.path_scope, plain.mount_namespace), (&None, None));
    assert_eq!((&plain.device, plain.inode), (&device, inode));
}

/// A file on a mount that is attached nowhere was told by an absolute path, which may be another's.
#[test]
fn a_file_on_a_detached_mount_has_no_absolute_path() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let (process_id, recording, _directory) = record(|directory, program| {
        let target = directory.join("mounted");
        fs::create_dir(&target).unwrap();
        play("exec_on_detached_mount", &[program, &target])
    });
    let lives = Lives::of(&recording);
    let exec = executed(&lives, process_id);
    assert_eq!(exec.image.as_deref(), Some("usr/tiny"));
    assert_eq!(exec.path_scope.as_deref(), Some("detached"));
    assert_eq!(exec.mount_namespace, None);
}

/// A script that was given by a descriptor was told as `/dev/fd/3`, which says nothing.
#[test]
fn a_script_by_a_descriptor_has_its_path() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let (witness, recording, _directory) = record(|directory, program| {
        let script = script(&directory.join("script"), program.to_str().unwrap());
        let name = Path::new("script");
        vec![
            (play("exec_descriptor", &[&script]), script.clone()),
            (play("exec_below_descriptor", &[directory, name]), script),
        ]
    });
    let lives = Lives::of(&recording);
    for (process_id, script) in witness {
        let exec = executed(&lives, process_id);
        assert_eq!(exec.script.as_deref(), script.to_str(), "{exec:?}");
        assert_eq!(exec.script_scope, None);
    }
}

/// The kernel's program does not follow what a caller names by `/proc`; it must not look like a path of the
/// host.
#[test]
fn a_script_by_a_link_of_proc_is_marked() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let (witness, recording, _directory) = record(|directory, program| {
        let script = script(&directory.join("script"), program.to_str().unwrap());
        play("exec_proc_descriptor", &[&script])
    });
    let exec = executed(&Lives::of(&recording), witness);
    assert!(
        exec.script
            .as_deref()
            .is_some_and(|script| script.starts_with("/proc/self/fd/"))
    );
    assert_eq!(exec.script_scope.as_deref(), Some("unknown"));
}

/// Of 600 directories 256 were told, the ones at the end, as if they were below the root.
#[test]
fn a_path_is_whole_up_to_4096_bytes_and_never_a_false_one_beyond() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let (witness, recording, directory) = record(|directory, program| {
        let many = deep(directory, program, "m", 600);
        let long = deep(directory, program, &"n".repeat(250), 20);
        (many, long)
    });
    let inside = fs::canonicalize(directory.path()).unwrap();
    let lives = Lives::of(&recording);
    let exec = exec_of(&lives, witness.0);
    let image = exec.image_bytes().unwrap();
    let whole = inside.join("m/".repeat(600)).join("tiny");
    assert_eq!(OsStr::from_bytes(&image), whole.as_os_str());
    let exec = lives.one(own_process_id(), witness.1).exec();
    let image = exec.image.as_deref().unwrap();
    assert_eq!(exec.truncated, ["image", "working_directory"]);
    let directory = exec.working_directory.as_deref().unwrap();
    assert!(directory.len() > 4_096 && directory.starts_with('n'));
    assert!(image.len() > 4_096 && image.starts_with('n') && image.ends_with("/tiny"));
}

/// What an overlay maps is the file below it, on a mount of nobody's: it was told as `/tiny`.
#[test]
fn a_mapping_on_an_overlay_has_the_path_of_the_program() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let scratch = crate::witness::directory();
    let inside = fs::canonicalize(scratch.path()).unwrap();
    let Some(overlay) = Overlay::mount(&inside) else {
        // A kernel without overlays.
        return;
    };
    let program = overlay.0.join("role");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut role = Role::start_by(command_of(&program, "wait", &[]));
    assert_eq!(role.fact(), "ready");
    let ((), recording, _directory) = record(|_, _| ());
    let rows: Vec<&Row> = recording
        .rows
        .iter()
        .filter(|row| row.process_id == role.process_id())
        .collect();
    let start = rows.iter().find(|row| row.kind == Kind::ProcessStart);
    let start = start.unwrap();
    assert_eq!(start.image.as_deref(), program.to_str());
    let same = |row: &&&Row| row.kind == Kind::ImageLoad && row.image == start.image;
    let load = rows.iter().find(same);
    let load = load.unwrap_or_else(|| panic!("no mapping of it: {rows:#?}"));
    assert_eq!((&load.device, load.inode), (&start.device, start.inode));
    assert_eq!(load.path_scope, None);
    role.end();
}

/// An overlay that is unmounted in the end.
struct Overlay(PathBuf);

impl Overlay {
    fn mount(directory: &Path) -> Option<Self> {
        let kinds = fs::read_to_string("/proc/filesystems").unwrap();
        kinds.lines().find(|line| line.ends_with("\toverlay"))?;
        let upper = directory.join("upper");
        fs::create_dir(&upper).unwrap();
        raw::mount(Some(c"scratch"), &c_string(&upper), Some(c"tmpfs"), 0);
        let merged = directory.join("merged");
        for name in ["upper/lower", "upper/upper", "upper/work", "merged"] {
            fs::create_dir(directory.join(name)).unwrap();
        }
        let at = |name: &str| upper.join(name).to_str().unwrap().to_owned();
        let (lower, upper, work) = (at("lower"), at("upper"), at("work"));
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        raw::mount_with(
            Some(c"overlay"),
            &c_string(&merged),
            Some(c"overlay"),
            0,
            Some(&c_string(Path::new(&options))),
        );
        Some(Self(merged))
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        raw::detach(&c_string(&self.0));
        raw::detach(&c_string(&self.0.with_file_name("upper")));
    }
}

/// Runs a copy of the program so many directories of that name below. The kernel takes no path of more
/// than 4,096 bytes, so it goes half the way by an open directory.
fn deep(directory: &Path, program: &Path, name: &str, count: usize) -> i32 {
    let half = directory.join(format!("{name}/").repeat(count / 2));
    fs::create_dir_all(&half).unwrap();
    let open = File::open(half).unwrap();
    let half = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
    let end = half.join(format!("{name}/").repeat(count / 2));
    fs::create_dir_all(&end).unwrap();
    fs::copy(program, end.join("tiny")).unwrap();
    run(Command::new("./tiny").current_dir(&end))
}

/// Role: executes a program below another root.
pub(crate) fn exec_in_chroot(root: &Path, program: &Path) {
    chroot(root).unwrap();
    std::env::set_current_dir("/").unwrap();
    panic!("{}", Command::new(program).exec());
}

/// Role: executes a program under another name, in a mount namespace where it has that.
pub(crate) fn exec_in_namespace(program: &Path, target: &Path) {
    raw::leave_mount_namespace();
    raw::mount(
        Some(&c_string(program)),
        &c_string(target),
        None,
        libc::MS_BIND,
    );
    panic!("{}", Command::new(target).exec());
}

/// Role: executes a copy of a program on a mount that is nowhere any more.
pub(crate) fn exec_on_detached_mount(program: &Path, target: &Path) {
    let mount_point = c_string(target);
    raw::mount(Some(c"scratch"), &mount_point, Some(c"tmpfs"), 0);
    std::env::set_current_dir(target).unwrap();
    raw::detach(&mount_point);
    fs::create_dir("usr").unwrap();
    fs::copy(program, "usr/tiny").unwrap();
    panic!("{}", Command::new("usr/tiny").exec());
}

/// Role: executes an open script.
pub(crate) fn exec_descriptor(script: &Path) {
    raw::execute_at(&open(script), c"");
}

/// Role: executes a script by the name `/proc` has for its descriptor.
pub(crate) fn exec_proc_descriptor(script: &Path) {
    let file = open(script);
    let name = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    let Err(error) = execve(&name, &[&name], &[] as &[&CStr; 0]);
    panic!("{error}");
}

/// Role: executes a script in an open directory.
pub(crate) fn exec_below_descriptor(directory: &Path, name: &Path) {
    raw::execute_at(&open(directory), &c_string(name));
}

/// A file that is still open for the interpreter.
fn open(path: &Path) -> File {
    let file = File::open(path).unwrap();
    fcntl(file.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    file
}
