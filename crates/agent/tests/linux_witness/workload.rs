//! The programs that are watched. This executable plays them itself: started with a role in its
//! environment it does not become a test harness (see `raw.rs`), and says on its standard output
//! what the log must say too, a line a fact, fields divided by spaces.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::raw;
use crate::{cgroups, contexts, execs, exits, images, parents, paths, seam, threads, usage};

const ROLE: &str = "SYSTRAIL_TEST_ROLE";

/// Plays the role that the environment names, and exits; returns where there is none.
pub(crate) fn play() {
    let Some(role) = env::var_os(ROLE) else {
        return;
    };
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let argument = |index: usize| Path::new(&arguments[index]);
    match role.as_bytes() {
        b"threads" => threads::start_threads(number(argument(0))),
        b"storm" => threads::storm(number(argument(0))),
        b"exits" => exits::end_in_every_way(argument(0)),
        b"exits_at_once" => exits::end_all_threads_at_once(number(argument(0))),
        b"exec_deleted" => execs::exec_deleted(argument(0)),
        b"exec_memory" => execs::exec_memory(argument(0)),
        b"exec_without_arguments" => execs::exec_without_arguments(argument(0)),
        b"exec_in_chroot" => paths::exec_in_chroot(argument(0), argument(1)),
        b"exec_in_namespace" => paths::exec_in_namespace(argument(0), argument(1)),
        b"exec_on_detached_mount" => paths::exec_on_detached_mount(argument(0), argument(1)),
        b"exec_descriptor" => paths::exec_descriptor(argument(0)),
        b"exec_proc_descriptor" => paths::exec_proc_descriptor(argument(0)),
        b"exec_below_descriptor" => paths::exec_below_descriptor(argument(0), argument(1)),
        b"parents" => parents::make_children(argument(0)),
        b"images" => images::load_images(argument(0)),
        b"cgroups" => cgroups::start_in(argument(0), argument(1)),
        b"take_terminal" => contexts::take_terminal(),
        b"exec_in_deleted" => contexts::exec_in_deleted(argument(0), argument(1)),
        b"usage" => usage::use_much(argument(0)),
        b"wait" => wait(),
        b"wait_without_leader" => exits::wait_without_leader(),
        b"turnover" => seam::turn_over(argument(0)),
        unknown => panic!("no role {}", unknown.escape_ascii()),
    }
    raw::exit_process(0);
}

fn number(text: &Path) -> usize {
    text.to_str().unwrap().parse().unwrap()
}

/// Says a fact.
#[expect(clippy::print_stdout, reason = "it is how a role speaks")]
pub(crate) fn tell(fact: &str) {
    println!("{fact}");
}

/// Does nothing until its standard input ends.
fn wait() {
    let thread = std::thread::spawn(read_to_end);
    tell("ready");
    thread.join().unwrap();
}

/// Waits until the test closes this process's standard input.
pub(crate) fn read_to_end() {
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).unwrap();
}

/// A role being played. Dropping it ends it.
pub(crate) struct Role {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Role {
    /// Starts it.
    pub(crate) fn start(role: &str, arguments: &[&Path]) -> Self {
        Self::start_by(command(role, arguments))
    }

    /// Starts it by a command of that role.
    pub(crate) fn start_by(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// Its process id.
    pub(crate) fn process_id(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// The next fact it tells.
    pub(crate) fn fact(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the role ended after {line:?}");
        line.trim_end().to_owned()
    }

    /// Closes its standard input and waits until it has ended.
    pub(crate) fn end(mut self) -> std::process::ExitStatus {
        drop(self.child.stdin.take());
        self.child.wait().unwrap()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // Both fail for a role that has ended, which is what is wanted here.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// What a role told from its beginning to its end.
pub(crate) struct Facts {
    pub(crate) process_id: i32,
    lines: Vec<Vec<String>>,
}

impl Facts {
    /// Plays a role from its beginning to its end, which must be a good one.
    pub(crate) fn of(role: &str, arguments: &[&Path]) -> Self {
        let mut command = command(role, arguments);
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        let process_id = i32::try_from(child.id()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{role}: {}", output.status);
        let text = String::from_utf8(output.stdout).unwrap();
        let words = |line: &str| line.split(' ').map(str::to_owned).collect();
        Self {
            process_id,
            lines: text.lines().map(words).collect(),
        }
    }

    /// The facts that begin with that word, without it.
    pub(crate) fn all(&self, name: &str) -> Vec<&[String]> {
        let facts = self.lines.iter().filter_map(|line| {
            let (first, rest) = line.split_first()?;
            (first == name).then_some(rest)
        });
        facts.collect()
    }

    /// The numbers of the one fact that begins with that word.
    pub(crate) fn numbers(&self, name: &str) -> Vec<i32> {
        let facts = self.all(name);
        assert_eq!(facts.len(), 1, "{name}: {:?}", self.lines);
        facts[0].iter().map(|word| word.parse().unwrap()).collect()
    }
}

/// This executable in that role.
pub(crate) fn command(role: &str, arguments: &[&Path]) -> Command {
    command_of(&own_path(), role, arguments)
}

/// A copy of this executable in that role.
pub(crate) fn command_of(program: &Path, role: &str, arguments: &[&Path]) -> Command {
    let mut command = Command::new(program);
    command.env(ROLE, role).args(arguments);
    raw::die_with_parent(&mut command);
    command
}

/// The file of this executable.
pub(crate) fn own_path() -> std::path::PathBuf {
    fs::read_link("/proc/self/exe").unwrap()
}

/// Says many facts in one go.
pub(crate) fn tell_all(facts: &[String]) {
    let mut text = facts.join("\n");
    text.push('\n');
    std::io::stdout().write_all(text.as_bytes()).unwrap();
}
