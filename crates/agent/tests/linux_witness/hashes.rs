//! Hashes of what is executed and mapped: what `sha256sum` says of the file, and the build id that the linker was
//! told to write.

use std::fs;
use std::path::Path;
use std::process::Command;

use sha2::{Digest as _, Sha256};
use systrail::store::{Guard, Reader, Window};

use crate::recorder::{Kind, Plan, Recorder, Recording, Row, log_path};
use crate::witness::{Machine, directory, find, is_emulated, say, tiny, tiny_program, wait_until};
use crate::workload::{Role, command_of, own_path};

/// One recorder for all of it: to begin takes long where the machine is emulated.
#[test]
fn what_is_executed_has_the_hash_of_its_file_and_of_its_state() {
    let Some(_machine) = Machine::take() else {
        return;
    };
    let directory = directory();
    let inside = fs::canonicalize(directory.path()).unwrap();
    let (program, linked) = (tiny_program(&inside), linked(&inside));
    let store = inside.join("store");
    let plan = Plan {
        arguments: &["--store", store.to_str().unwrap()],
        tables: "[hash]\non = true\nrate = \"256 MiB\"\n",
        ..Plan::default()
    };
    let recorder = Recorder::start(&inside, plan);
    let log = Log(&inside);
    let states = log.run_in_two_states(&program);
    if !is_emulated() {
        log.run_deleted();
    }
    if let Some(linked) = &linked {
        run(linked);
        log.wait_for(&sha256sum(linked));
    }
    let recording = recorder.stop();
    let execs = rows(&recording, Kind::ProcessExec, &program);
    check_states(&recording, &execs, &program, &states);
    if let Some(linked) = &linked {
        let found = rows(&recording, Kind::ImageDetails, linked);
        let has_it = |row: &&Row| row.build_id.as_deref() == Some(BUILD_ID);
        assert!(!found.is_empty() && found.iter().all(has_it), "{found:#?}");
    }

    let reader = Reader::open(&store, &Window::default(), &Guard::default()).unwrap();
    let sql = "SELECT sha256 FROM processes WHERE process_key = ?1";
    for (row, state) in execs.iter().zip([0, 0, 1, 1]) {
        let key = format!("{:016x}", row.process_key);
        let sha256: Option<String> = reader
            .connection()
            .query_row(sql, [key], |row| row.get(0))
            .unwrap();
        assert_eq!(sha256.as_ref(), Some(&states[state]), "{row:#?}");
    }
}

fn run(program: &Path) {
    assert!(tiny(program, 0).status().unwrap().success());
}

/// What was recorded until now, in that directory.
struct Log<'d>(&'d Path);

impl Log<'_> {
    fn has(&self, part: &str) -> bool {
        let log = fs::read_to_string(log_path(self.0)).unwrap();
        log.contains(part)
    }

    fn wait_for(&self, sha256: &str) {
        wait_until(|| self.has(&format!("\"sha256\":\"{sha256}\"")));
    }

    /// Runs it twice, changes it in place, and runs it twice again: its hashes.
    fn run_in_two_states(&self, program: &Path) -> [String; 2] {
        let twice = || {
            let sha256 = sha256sum(program);
            run(program);
            self.wait_for(&sha256);
            run(program);
            sha256
        };
        let first = twice();
        // The same inode, and another file.
        let mut content = fs::read(program).unwrap();
        content.push(7);
        fs::write(program, content).unwrap();
        [first, twice()]
    }

    /// Runs a program that is gone before anybody looks for it by its path.
    fn run_deleted(&self) {
        let deleted = self.0.join("deleted");
        fs::copy(own_path(), &deleted).unwrap();
        let sha256 = sha256sum(&deleted);
        let mut role = Role::start_by(command_of(&deleted, "wait", &[]));
        fs::remove_file(&deleted).unwrap();
        assert_eq!(role.fact(), "ready");
        self.wait_for(&sha256);
        role.end();
    }
}

/// The first exec in either state waits for the hash, and the second has it where the sensor tells the state.
fn check_states(recording: &Recording, execs: &[&Row], program: &Path, states: &[String; 2]) {
    let is_stamped = recording.account.source == "ebpf";
    let [first, second] = states;
    let known = [None, Some(first), None, Some(second)];
    assert_eq!(execs.len(), known.len(), "{execs:#?}");
    for (row, sha256) in execs.iter().zip(known) {
        let known = sha256.filter(|_| is_stamped);
        assert_eq!(row.sha256.as_ref(), known, "{row:#?}");
        let reason = row.missing.get("sha256").map(String::as_str);
        assert_eq!(reason, known.is_none().then_some("pending"), "{row:#?}");
    }
    let details = rows(recording, Kind::ImageDetails, program);
    let hashes: Vec<_> = details.iter().flat_map(|row| &row.sha256).collect();
    assert!(
        hashes.contains(&first) && hashes.contains(&second),
        "{details:#?}"
    );
    let place = |row: &Row| (row.device.clone(), row.inode);
    assert!(details.iter().all(|row| place(row) == place(execs[0])));
}

const BUILD_ID: &str = "0123456789abcdef00c0ffee";

/// A program with a build id of our own choice, where there is a compiler.
fn linked(directory: &Path) -> Option<std::path::PathBuf> {
    if is_emulated() || find("cc").is_none() {
        say("no compiler: no build id");
        return None;
    }
    let (source, program) = (directory.join("a.c"), directory.join("linked"));
    fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let compiled = Command::new("cc")
        .arg(format!("-Wl,--build-id=0x{BUILD_ID}"))
        .args([&source, Path::new("-o"), &program])
        .status();
    assert!(compiled.unwrap().success());
    Some(program)
}

/// What the program of that name says of a file, or the library where there is none.
fn sha256sum(file: &Path) -> String {
    if find("sha256sum").is_none() {
        let digest = Sha256::digest(fs::read(file).unwrap());
        return digest
            .iter()
            .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    }
    let said = Command::new("sha256sum").arg(file).output().unwrap().stdout;
    String::from_utf8(said).unwrap()[..64].to_owned()
}

fn rows<'r>(recording: &'r Recording, kind: Kind, image: &Path) -> Vec<&'r Row> {
    let rows = recording.of(kind);
    rows.filter(|row| row.image.as_deref() == image.to_str())
        .collect()
}
