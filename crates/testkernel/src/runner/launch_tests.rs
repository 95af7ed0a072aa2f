//! The launch routine and the service, seen on Wine: what the agent does to a machine so that it
//! records, and what it leaves of that.

use crate::agent::{self, Agent, LOG};
use crate::agent_tests::{
    Installed, balances, balances_in, done, logged_exactly, no_reads_are_left,
};
use crate::kernel::{DRIVER_SERVICE, Kernel, STOPPED};
use crate::sys::console::{CLOSE, CTRL_BREAK, LOG_OFF, SHUT_DOWN};
use crate::sys::process::Process;
use crate::sys::registry;
use crate::sys::service::Service;
use crate::{Outcome, Test, ensure, witness};
use event::control::UNCONFIRMED_STARTS;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "run_where_nothing_is_installed_records_and_leaves_nothing",
        run_fn: leaves_nothing,
    },
    Test {
        name: "run_that_keeps_leaves_the_driver_and_the_next_one_uses_it",
        run_fn: keeps_the_driver,
    },
    Test {
        name: "run_on_a_driver_that_runs_leaves_it_as_it_was",
        run_fn: leaves_a_running_driver,
    },
    Test {
        name: "run_on_a_driver_that_is_stopped_stops_it_again",
        run_fn: stops_the_driver_again,
    },
    Test {
        name: "run_that_fails_half_way_leaves_nothing",
        run_fn: undoes_what_it_did,
    },
    Test {
        name: "run_whose_console_is_closed_drains_and_tells_the_account",
        run_fn: ends_with_its_console,
    },
    Test {
        name: "service_is_installed_records_stops_in_time_and_is_removed",
        run_fn: serves,
    },
    Test {
        name: "service_that_is_installed_again_is_brought_up_to_date",
        run_fn: is_installed_again,
    },
    Test {
        name: "service_that_a_restart_does_not_cure_says_so_and_stays_stopped",
        run_fn: stays_stopped,
    },
    Test {
        name: "service_that_fails_is_gone_without_a_word_so_that_it_is_restarted",
        run_fn: is_gone,
    },
    Test {
        name: "service_without_a_driver_is_not_installed",
        run_fn: installs_both_or_none,
    },
];

/// What the registry knows of services; two of them are compared by what only one has.
pub(crate) struct Machine(Vec<String>);

impl Machine {
    pub(crate) fn now() -> std::io::Result<Self> {
        let mut lines = registry::services()?;
        // How its starts went is not how it was installed.
        lines.retain(|line| !line.contains(UNCONFIRMED_STARTS));
        Ok(Self(lines))
    }

    /// Whether a service has a value of that name.
    fn knows(&self, name: &str) -> bool {
        self.0.iter().any(|line| line.contains(name))
    }

    pub(crate) fn is_as_before(&self) -> Outcome {
        let now = Self::now()?;
        let only = |these: &Self, those: &Self| -> Vec<String> {
            let is_missing = |line: &&String| !those.0.contains(line);
            these.0.iter().filter(is_missing).cloned().collect()
        };
        let (gone, new) = (only(self, &now), only(&now, self));
        ensure(
            gone.is_empty() && new.is_empty(),
            format!("gone from the registry: {gone:?}, new in it: {new:?}"),
        )
    }
}

fn leaves_nothing(kernel: &Kernel) -> Outcome {
    ensure(
        Service::open(DRIVER_SERVICE).is_err(),
        "the driver is installed before the test",
    )?;
    let before = Machine::now()?;
    let agent = Agent::record(&[])?;
    ensure(kernel.report()?.is_loaded, "the driver was not started")?;
    ensure(before.is_as_before().is_err(), "no service is seen")?;
    let witnessed = witness::run(kernel, "cmd /c cmd /c exit 4")?;
    done(&agent.interrupt()?)?;
    logged_exactly(&witnessed, LOG)?;
    balances()?;
    ensure(!kernel.report()?.is_loaded, "the driver still runs")?;
    before.is_as_before()
}

fn keeps_the_driver(kernel: &Kernel) -> Outcome {
    done(&Agent::record(&["--keep"])?.interrupt()?)?;
    // From here on a failure removes it.
    let _installed = Installed;
    ensure(kernel.report()?.is_loaded, "the driver was not kept")?;
    // It queues what happens while nobody reads.
    let mut witnessed = witness::run(kernel, "cmd /c exit 1")?;
    let agent = Agent::record(&[])?;
    witnessed.extend(witness::run(kernel, "cmd /c exit 2")?);
    done(&agent.interrupt()?)?;
    logged_exactly(&witnessed, LOG)?;
    ensure(kernel.report()?.is_loaded, "the next one stopped it")
}

fn leaves_a_running_driver(kernel: &Kernel) -> Outcome {
    agent::succeed(&["driver", "install", "--queue-limit", "1MiB"])?;
    let _installed = Installed;
    agent::succeed(&["driver", "start"])?;
    let before = Machine::now()?;
    // What it has queued would be gone if it was started anew.
    let witnessed = witness::run(kernel, "cmd /c exit 3")?;
    let agent = Agent::record(&["--flush-interval", "20ms"])?;
    done(&agent.interrupt()?)?;
    logged_exactly(&witnessed, LOG)?;
    no_reads_are_left(kernel)?;
    ensure(kernel.report()?.is_loaded, "the driver was stopped")?;
    before.is_as_before()
}

fn stops_the_driver_again(kernel: &Kernel) -> Outcome {
    let _installed = Installed::new()?;
    let before = Machine::now()?;
    let agent = Agent::record(&[])?;
    let witnessed = witness::run(kernel, "cmd /c exit 4")?;
    done(&agent.interrupt()?)?;
    logged_exactly(&witnessed, LOG)?;
    ensure(!kernel.report()?.is_loaded, "the driver still runs")?;
    before.is_as_before()
}

fn undoes_what_it_did(kernel: &Kernel) -> Outcome {
    const ALONE: &str = r"C:\systrail\alone";
    let before = Machine::now()?;
    let run = [
        "run",
        "--source",
        "driver",
        "--no-store",
        "--duration",
        "1s",
    ];
    // Not even installed.
    std::fs::create_dir_all(ALONE)?;
    let alone = format!(r"{ALONE}\systrail.exe");
    std::fs::copy(agent::PROGRAM, &alone)?;
    let output = agent::command_of(&alone, &[&run[..], &["--no-log"]].concat())?;
    expect_end(&output, 4, "systrail.sys")?;
    before.is_as_before()?;
    // Installed, and did not start.
    for function in ["ExAllocatePoolWithTag", "IoCreateSymbolicLink"] {
        kernel.reset()?;
        kernel.fail(function, 1)?;
        let output = agent::command(&[&run[..], &["--no-log"]].concat())?;
        ensure(kernel.report()?.has_struck, "the driver was not started")?;
        expect_end(&output, 4, "driver")?;
        before.is_as_before()?;
    }
    // Installed and started, and nowhere to write to.
    let output = agent::command(&[&run[..], &["--log", r"C:\systrail"]].concat())?;
    expect_end(&output, 2, "not a regular file")?;
    ensure(!kernel.report()?.is_loaded, "the driver still runs")?;
    before.is_as_before()
}

fn ends_with_its_console(kernel: &Kernel) -> Outcome {
    let _installed = Installed::started()?;
    for event in [CTRL_BREAK, CLOSE, LOG_OFF, SHUT_DOWN] {
        let agent = Agent::record(&[])?;
        let witnessed = witness::run(kernel, "cmd /c exit 7")?;
        done(&agent.end_with(event)?)?;
        logged_exactly(&witnessed, LOG)?;
        balances()?;
        no_reads_are_left(kernel)?;
    }
    Ok(())
}

pub(crate) fn expect_end(output: &std::process::Output, code: i32, word: &str) -> Outcome {
    let said = agent::said(output);
    ensure(
        output.status.code() == Some(code) && said.contains(word),
        format!("it ended with {} and said {said}", output.status),
    )
}

/// What the service manager says of a process that is gone without a word: `ERROR_PROCESS_ABORTED`.
const PROCESS_ABORTED: u32 = 1067;

/// The name of the agent's service.
pub(crate) const AGENT_SERVICE: &str = "SysTrailAgent";

/// Both services, installed by the agent; removed when it is dropped.
struct Serving;

impl Serving {
    fn new() -> std::io::Result<Self> {
        agent::succeed(&["service", "install"])?;
        Ok(Self)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // A test that failed half way must not fail the next one.
        let _outcome = agent::command(&["service", "uninstall"]);
    }
}

/// Where the service keeps what it records: `C:\ProgramData\SysTrail`, on Wine 8 as on Windows. The
/// agent asks the registry, and this the environment.
pub(crate) fn data_directory() -> Result<PathBuf, std::env::VarError> {
    let data = std::env::var("ProgramData")?;
    Ok(Path::new(&data).join("SysTrail"))
}

fn serves(kernel: &Kernel) -> Outcome {
    /// What a service has before Windows ends it.
    const STOP_TIME_MAX: Duration = Duration::from_secs(5);
    const ENDED: &str = "SELECT exit_code FROM processes WHERE exit_code = 6";
    let before = Machine::now()?;
    let serving = Serving::new()?;
    says(&["service", "status"], "stopped")?;
    says(&["service", "start"], "started")?;
    says(&["service", "status"], "running, process")?;
    says(&["service", "start"], "run already")?;
    let witnessed = witness::run(kernel, "cmd /c cmd /c exit 6")?;
    let begin = Instant::now();
    says(&["service", "stop"], "stopped")?;
    let took = begin.elapsed();
    ensure(took < STOP_TIME_MAX, format!("it stopped after {took:?}"))?;
    ensure(!kernel.report()?.is_loaded, "the driver still runs")?;
    let data = data_directory()?;
    let log = data.join("systrail.jsonl");
    logged_exactly(&witnessed, &log.to_string_lossy())?;
    let rows = agent::succeed(&["query", "--format", "jsonl", ENDED])?;
    ensure(rows.lines().count() == 2, format!("the store has {rows}"))?;
    says(&["service", "status"], "last run that ended")?;
    balances_in(&data.join("account.json"))?;
    says(&["service", "uninstall"], "uninstalled")?;
    drop(serving);
    ensure(log.exists(), "what was recorded is gone")?;
    before.is_as_before()
}

fn is_installed_again(kernel: &Kernel) -> Outcome {
    let _serving = Serving;
    let said = agent::succeed(&["service", "install"])?;
    let installed = Machine::now()?;
    // Wine 8 cannot limit them; then the service is installed all the same, and this is told.
    ensure(
        installed.knows("RequiredPrivileges") || said.contains("every privilege"),
        format!("privileges are not limited, and it says {said}"),
    )?;
    says(&["service", "install"], "brought up to date")?;
    installed.is_as_before()?;
    says(&["service", "start"], "started")?;
    says(&["service", "restart"], "restarted")?;
    ensure(kernel.report()?.is_loaded, "the driver was stopped")?;
    // Removing both stops both first.
    says(&["service", "uninstall"], "uninstalled")?;
    no_reads_are_left(kernel)?;
    ensure(!kernel.report()?.is_loaded, "the driver still runs")?;
    says(&["service", "uninstall"], "were not installed")
}

/// The configuration of the service; removed when it is dropped.
struct Configuration(PathBuf);

impl Configuration {
    fn new(text: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let file = data_directory()?.join("systrail.toml");
        std::fs::write(&file, text)?;
        Ok(Self(file))
    }
}

impl Drop for Configuration {
    fn drop(&mut self) {
        // A test that failed half way must not fail the next one.
        let _outcome = std::fs::remove_file(&self.0);
    }
}

/// How the service ended, as the service manager tells it: its own word, and its own exit code.
fn ends_with(exit_codes: (u32, u32)) -> Outcome {
    let output = agent::command(&["service", "start"])?;
    expect_end(&output, 1, "ended again at once")?;
    let told = Service::open(AGENT_SERVICE)?.exit_codes()?;
    ensure(told == exit_codes, format!("it ended with {told:?}"))
}

/// The service was started again every minute for ever in both cases.
fn stays_stopped(_kernel: &Kernel) -> Outcome {
    /// `ERROR_SERVICE_SPECIFIC_ERROR`
    const OWN_CODE: u32 = 1066;
    let _serving = Serving::new()?;
    let configuration = Configuration::new("[no such section]\n")?;
    ends_with((OWN_CODE, 2))?;
    drop(configuration);
    // A sensor of another system.
    let _configuration = Configuration::new("source = \"perf\"\n")?;
    ends_with((OWN_CODE, 4))
}

/// The service manager takes a process that is gone without having said that it has stopped for one
/// that crashed. Wine's does not notice it, so the service seems to run on.
fn is_gone(kernel: &Kernel) -> Outcome {
    const TIME_MAX: Duration = Duration::from_secs(10);
    const READS_FAIL: &str = "MmMapLockedPagesSpecifyCache";
    let _serving = Serving::new()?;
    says(&["service", "start"], "started")?;
    let service = Service::open(AGENT_SERVICE)?;
    let process = Process::open(service.process_id()?)?;
    kernel.reset()?;
    kernel.fail(READS_FAIL, 1)?;
    witness::run(kernel, "cmd /c exit 8")?;
    let exit_code = process.wait(TIME_MAX)?;
    ensure(exit_code == 1, format!("it ended with {exit_code}"))?;
    let state = service.state()?;
    let has_said_stopped = state == STOPPED && service.exit_codes()?.0 != PROCESS_ABORTED;
    ensure(!has_said_stopped, "it has said that it has stopped")?;
    // Wine would ask the process that is gone to stop.
    service.delete()?;
    Ok(())
}

fn installs_both_or_none(_kernel: &Kernel) -> Outcome {
    let before = Machine::now()?;
    let output = agent::command(&["service", "install", "--driver", agent::PROGRAM])?;
    expect_end(&output, 1, "no driver but a program")?;
    before.is_as_before()
}

/// Runs a command that succeeds and says this.
fn says(arguments: &[&str], words: &str) -> Outcome {
    let said = agent::succeed(arguments)?;
    let command = arguments.join(" ");
    ensure(said.contains(words), format!("{command} says {said}"))
}
