//! Image loads: what `/proc/PID/maps` has as executable mappings of files, and nothing else.

use std::ffi::CStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use crate::lives::Lives;
use crate::raw::{load_library, map_anonymous_executable, map_executable};
use crate::recorder::{Kind, Plan, Recorder};
use crate::witness::{Machine, Mapping, directory, is_emulated, own_process_id, say, tiny_program};
use crate::workload::{Facts, Role, own_path, tell};

const PAGE_SIZE: usize = 4096;

/// Libraries that the tests themselves do not need; the first that is there is loaded.
const LIBRARIES: [&CStr; 4] = [
    c"libm.so.6",
    c"libresolv.so.2",
    c"libtinfo.so.6",
    c"libutil.so.1",
];

#[test]
fn every_file_mapped_executable_is_told_and_nothing_else() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let directory = directory();
    let inside = fs::canonicalize(directory.path()).unwrap();
    let mapped = inside.join("mapped file");
    fs::write(&mapped, vec![0xc3; 2 * PAGE_SIZE]).unwrap();
    let recorder = Recorder::start(&inside, Plan::default());
    let facts = Facts::of("images", &[&mapped]);
    let recording = recorder.stop();

    let lives = Lives::of(&recording);
    let life = lives.one(own_process_id(), facts.process_id);
    let maps: Vec<String> = facts
        .all("map")
        .into_iter()
        .map(|words| words.join(" "))
        .collect();
    let witness = Mapping::executable(&maps.join("\n"));
    assert_eq!(Mapping::told(life), witness);
    assert_the_witness_saw(&witness, &own_path());
    assert_the_witness_saw(&witness, &mapped);
    for name in ["ld-linux", "libc."] {
        assert!(witness.iter().any(|mapping| mapping.path.contains(name)));
    }
    let library_count = facts.numbers("libraries")[0];
    assert!(library_count == 1 || is_emulated(), "no library was loaded");
    // Those that its exec mapped, before that was told, included.
    let program = own_path();
    let is_its = |image: Option<&str>| image == program.to_str();
    assert!(
        life.images
            .iter()
            .all(|row| is_its(row.process_image.as_deref()))
    );
    let is_existing = life.images.iter().any(|row| row.existing);
    assert!(!is_existing, "{life:#?}");
}

// They were told as loaded into the program before, for the exec is told only later.
#[test]
fn what_an_exec_maps_is_loaded_into_the_new_program() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    if !has_program_on_mappings() {
        say("image loads come from perf records here, which do not say it");
        return;
    }
    let directory = directory();
    let program = tiny_program(&fs::canonicalize(directory.path()).unwrap());
    let recorder = Recorder::start(directory.path(), Plan::default());
    let mut child = Command::new(&program).arg("a").spawn().unwrap();
    let process_id = i32::try_from(child.id()).unwrap();
    child.wait().unwrap();
    let recording = recorder.stop();
    let lives = Lives::of(&recording);
    let life = lives.one(own_process_id(), process_id);
    assert_eq!(life.exec().image.as_deref(), program.to_str());
    let told: Vec<_> = life
        .images
        .iter()
        .map(|row| row.process_image.as_deref())
        .collect();
    assert_eq!(told, [program.to_str()]);
}

/// Whether the kernel takes a program for image loads.
fn has_program_on_mappings() -> bool {
    let program =
        std::env::var_os("SYSTRAIL_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_systrail").into());
    let doctor = Command::new(program).arg("doctor").output().unwrap();
    let said = String::from_utf8(doctor.stdout).unwrap();
    said.lines()
        .any(|line| line.trim_end() == "ok ebpf runs here")
}

#[test]
fn the_snapshot_has_the_programs_and_images_of_those_who_were_there() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let directory = directory();
    let mut role = Role::start("wait", &[]);
    assert_eq!(role.fact(), "ready");
    let recording = Recorder::start(directory.path(), Plan::default()).stop();

    let lives = Lives::of(&recording);
    let life = lives
        .all()
        .find(|life| life.start.process_id == role.process_id())
        .unwrap();
    let start = life.start;
    assert!(start.existing);
    assert_eq!(start.parent_process_id, Some(own_process_id()));
    assert_eq!(start.image.as_deref(), own_path().to_str());
    assert_eq!(
        start.arguments_bytes(),
        [own_path().to_str().unwrap().as_bytes()]
    );
    assert_eq!(start.user_id, Some(0));
    let maps = fs::read_to_string(format!("/proc/{}/maps", role.process_id())).unwrap();
    assert_eq!(Mapping::told(life), Mapping::executable(&maps));
    assert!(life.images.iter().all(|row| row.existing));
    let told_late = recording
        .of(Kind::ImageLoad)
        .skip_while(|row| row.existing)
        .any(|row| row.existing);
    assert!(!told_late, "the snapshot is in one piece");
    role.end();
}

// A process whose first thread had ended was told without image, command line and images.
#[test]
fn the_snapshot_has_the_program_of_a_process_without_its_first_thread() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let mut role = Role::start("wait_without_leader", &[]);
    assert!(role.fact().starts_with("last_act"));
    let tasks = format!("/proc/{}/task", role.process_id());
    let maps = fs::read_dir(tasks)
        .unwrap()
        .map(|task| fs::read_to_string(task.unwrap().path().join("maps")).unwrap_or_default())
        .find(|maps| !maps.is_empty())
        .unwrap();
    for source in ["auto", "perf"] {
        let directory = directory();
        let plan = Plan {
            arguments: &["--source", source],
            ..Plan::default()
        };
        let recording = Recorder::start(directory.path(), plan).stop();
        let lives = Lives::of(&recording);
        let life = lives
            .all()
            .find(|life| life.start.process_id == role.process_id())
            .unwrap();
        assert_eq!(life.start.image.as_deref(), own_path().to_str());
        assert_eq!(
            life.start.arguments_bytes(),
            [own_path().to_str().unwrap().as_bytes()]
        );
        assert_eq!(Mapping::told(life), Mapping::executable(&maps));
    }
    role.end();
}

fn assert_the_witness_saw(mappings: &[Mapping], path: &Path) {
    let path = path.to_str().unwrap();
    assert!(
        mappings.iter().any(|mapping| mapping.path == path),
        "{path} is not among {mappings:#?}"
    );
}

/// Role: maps memory and a file executable, loads a library, and tells its mappings.
pub(crate) fn load_images(file: &Path) {
    let file = File::open(file).unwrap();
    map_executable(&file, PAGE_SIZE);
    map_executable(&file, 2 * PAGE_SIZE);
    let anonymous = map_anonymous_executable(PAGE_SIZE);
    let loaded = LIBRARIES.iter().find(|name| load_library(name));
    tell(&format!("libraries {}", usize::from(loaded.is_some())));
    tell(&format!("anonymous {anonymous}"));
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    for line in maps.lines() {
        tell(&format!("map {line}"));
    }
}
