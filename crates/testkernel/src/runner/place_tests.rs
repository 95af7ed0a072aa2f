//! Where the agent takes program and driver from: nowhere that others could exchange them, seen on
//! Wine, which keeps who may write as modes of Unix.

use crate::agent;
use crate::kernel::{DRIVER_SERVICE, Kernel};
use crate::launch_tests::{AGENT_SERVICE, Machine, data_directory, expect_end};
use crate::sys::security::open_to_everybody;
use crate::sys::service::Service;
use crate::{Outcome, Test, ensure};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "place_that_others_may_write_to_is_refused_unless_it_is_asked_for",
        run_fn: refuses,
    },
    Test {
        name: "place_whose_upper_directory_others_may_write_to_is_refused",
        run_fn: refuses_below,
    },
    Test {
        name: "place_that_others_may_write_to_is_warned_of_by_run_and_refused_by_run_that_keeps",
        run_fn: warns,
    },
    Test {
        name: "place_for_data_that_others_prepared_is_refused",
        run_fn: refuses_prepared_data,
    },
    Test {
        name: "place_of_a_configuration_that_others_may_change_is_refused",
        run_fn: refuses_prepared_configuration,
    },
];

/// A directory everybody may write to, with program and driver in it or below; gone when dropped.
struct Open;

const OPEN: &str = r"C:\systrail\open";
const BELOW: &str = r"C:\systrail\open\below";

impl Open {
    /// Copies both into `directory`.
    fn new(directory: &str) -> Result<Self, Box<dyn std::error::Error>> {
        fs::create_dir_all(directory)?;
        let open = Self;
        for name in ["systrail.exe", "systrail.sys"] {
            fs::copy(
                Path::new(r"C:\systrail").join(name),
                Path::new(directory).join(name),
            )?;
        }
        open_to_everybody(OPEN)?;
        Ok(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        for command in [["service", "uninstall"], ["driver", "uninstall"]] {
            // A test that failed half way must not fail the next one.
            let _outcome = agent::command(&command);
        }
        // As above.
        let _outcome = fs::remove_dir_all(OPEN);
    }
}

fn refuses(_kernel: &Kernel) -> Outcome {
    let before = Machine::now()?;
    let _open = Open::new(OPEN)?;
    let program = format!(r"{OPEN}\systrail.exe");
    for command in ["driver", "service"] {
        let output = agent::command_of(&program, &[command, "install"])?;
        expect_end(&output, 1, r"may change C:\systrail\open,")?;
        let said = agent::said(&output);
        ensure(
            said.contains(r"to %ProgramFiles%\SysTrail (a file that is moved keeps its owner), or")
                && said.contains("--allow-writable"),
            format!("it says {said}"),
        )?;
        before.is_as_before()?;
    }
    // The file alone, in a directory that is well.
    let driver = format!(r"{OPEN}\systrail.sys");
    let output = agent::command(&["driver", "install", "--file", &driver])?;
    expect_end(&output, 1, OPEN)?;
    before.is_as_before()?;
    let output = agent::command_of(&program, &["service", "install", "--allow-writable"])?;
    expect_end(&output, 0, "installed")?;
    ensure(
        Service::open(AGENT_SERVICE).is_ok() && Service::open(DRIVER_SERVICE).is_ok(),
        "it is not installed",
    )
}

fn refuses_below(_kernel: &Kernel) -> Outcome {
    let before = Machine::now()?;
    let _open = Open::new(BELOW)?;
    let program = format!(r"{BELOW}\systrail.exe");
    let output = agent::command_of(&program, &["driver", "install"])?;
    expect_end(&output, 1, r"may change C:\systrail\open,")?;
    before.is_as_before()
}

fn warns(kernel: &Kernel) -> Outcome {
    const WARNING: &str = "loaded all the same";
    const RUN: [&str; 6] = [
        "run",
        "--source",
        "driver",
        "--no-log",
        "--no-store",
        "--duration",
    ];
    let before = Machine::now()?;
    let _open = Open::new(OPEN)?;
    let program = format!(r"{OPEN}\systrail.exe");
    let run = [&RUN[..], &["1s"]].concat();
    let output = agent::command_of(&program, &run)?;
    expect_end(&output, 0, WARNING)?;
    let output = agent::command_of(&program, &[&run[..], &["--keep"]].concat())?;
    expect_end(&output, 4, "is not taken")?;
    ensure(!kernel.report()?.is_loaded, "the driver runs")?;
    before.is_as_before()?;
    let asked_for = [&run[..], &["--allow-writable"]].concat();
    let output = agent::command_of(&program, &asked_for)?;
    expect_end(&output, 0, "recording")?;
    let said = agent::said(&output);
    ensure(!said.contains(WARNING), format!("it says {said}"))
}

/// The data directory and what is in it, gone when dropped.
struct Data(PathBuf);

impl Data {
    /// Puts a configuration there, which has the agent write to `C:\systrail\planted.jsonl`.
    fn planted() -> Result<Self, Box<dyn std::error::Error>> {
        let data = Self(data_directory()?);
        if data.0.exists() {
            fs::remove_dir_all(&data.0)?;
        }
        fs::create_dir(&data.0)?;
        fs::write(data.configuration(), format!("[log]\npath = '{PLANTED}'\n"))?;
        Ok(data)
    }

    fn configuration(&self) -> PathBuf {
        self.0.join("systrail.toml")
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        // A test that failed half way must not fail the next one.
        let _outcome = fs::remove_dir_all(&self.0);
    }
}

const PLANTED: &str = r"C:\systrail\planted.jsonl";

/// A service took a directory over that somebody had made before it, with the configuration in it:
/// closing a directory changes nothing about the files that are there, nor who has them open.
fn refuses_prepared_data(_kernel: &Kernel) -> Outcome {
    let before = Machine::now()?;
    let data = Data::planted()?;
    open_to_everybody(&data.0.to_string_lossy())?;
    let output = agent::command(&["service", "install"])?;
    expect_end(&output, 1, "can be trusted")?;
    before.is_as_before()?;
    refuses_to_run()
}

fn refuses_prepared_configuration(_kernel: &Kernel) -> Outcome {
    let data = Data::planted()?;
    open_to_everybody(&data.configuration().to_string_lossy())?;
    refuses_to_run()
}

fn refuses_to_run() -> Outcome {
    let run = ["run", "--no-store", "--duration", "1s"];
    let output = agent::command(&run)?;
    expect_end(&output, 2, "may change")?;
    ensure(
        !Path::new(PLANTED).exists(),
        "it wrote where it was told to",
    )
}
