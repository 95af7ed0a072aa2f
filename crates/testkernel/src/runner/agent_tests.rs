//! What the agent promises, seen on Wine: the shipped program on the shipped driver.
//! `launch_tests.rs` has the launch routine and the service.

use crate::agent::{self, Agent, Ended, LOG, SUMMARY};
use crate::fact::{self, Fact};
use crate::kernel::{DRIVER_SERVICE, Kernel, STOPPED, reach};
use crate::reader::READS;
use crate::sys::service::Service;
use crate::{Outcome, Test, ensure, own_path, witness};
use serde_json::Value;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "agent_installs_and_removes_the_driver_however_often",
        run_fn: installs_and_removes,
    },
    Test {
        name: "agent_installs_no_file_that_is_not_our_driver",
        run_fn: refuses_foreign_files,
    },
    Test {
        name: "agent_logs_a_small_tree_exactly",
        run_fn: logs_a_small_tree,
    },
    Test {
        name: "agent_logs_200_parallel_processes_threads_and_libraries_exactly",
        run_fn: logs_a_storm,
    },
    Test {
        name: "agent_keeps_a_store_that_answers",
        run_fn: keeps_a_store,
    },
    Test {
        name: "agent_that_is_killed_costs_nothing_and_the_next_one_goes_on",
        run_fn: survives_a_kill,
    },
    Test {
        name: "agent_whose_driver_stops_says_so",
        run_fn: outlives_the_driver,
    },
    Test {
        name: "agent_stops_no_driver_that_is_read",
        run_fn: refuses_to_stop_a_busy_driver,
    },
    Test {
        name: "agent_beside_another_is_refused_clearly",
        run_fn: refuses_a_second_agent,
    },
    Test {
        name: "agent_that_is_idle_makes_no_request",
        run_fn: idles,
    },
];

/// The driver, installed by the agent; removed when it is dropped.
pub(crate) struct Installed;

impl Installed {
    pub(crate) fn new() -> io::Result<Self> {
        agent::succeed(&["driver", "install"])?;
        Ok(Self)
    }

    pub(crate) fn started() -> io::Result<Self> {
        let installed = Self::new()?;
        agent::succeed(&["driver", "start"])?;
        Ok(installed)
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // A test that failed half way must not fail the next one.
        let _outcome = agent::command(&["driver", "uninstall"]);
    }
}

fn installs_and_removes(kernel: &Kernel) -> Outcome {
    for _time in 0..2 {
        let _installed = Installed::started()?;
        agent::succeed(&["driver", "install"])?;
        ensure(kernel.report()?.is_loaded, "the driver was not taken over")?;
        let status = agent::succeed(&["driver", "status"])?;
        ensure(status.contains("running"), format!("it says {status}"))?;
        // Removing it stops it first.
        agent::succeed(&["driver", "uninstall"])?;
        ensure(!kernel.report()?.is_loaded, "the driver is still there")?;
        ensure(
            Service::open(DRIVER_SERVICE).is_err(),
            "the service is still there",
        )?;
    }
    let status = agent::succeed(&["driver", "uninstall"])?;
    ensure(
        status.contains("not installed"),
        format!("it says {status}"),
    )
}

fn refuses_foreign_files(_kernel: &Kernel) -> Outcome {
    for (file, word) in [
        (r"C:\systrail\absent.sys", "absent.sys"),
        (agent::PROGRAM, "program"),
        (r"C:\systrail\testkernel.sys", ""),
    ] {
        let output = agent::command(&["driver", "install", "--file", file])?;
        let said = agent::said(&output);
        ensure(!output.status.success(), format!("{file} was installed"))?;
        ensure(said.contains(word), format!("of {file} it says {said}"))?;
        ensure(
            Service::open(DRIVER_SERVICE).is_err(),
            format!("{file}: a service is left"),
        )?;
    }
    Ok(())
}

fn logs_a_small_tree(kernel: &Kernel) -> Outcome {
    let _installed = Installed::started()?;
    let agent = Agent::record(&[])?;
    let witnessed = witness::run(kernel, "cmd /c cmd /c exit 3")?;
    done(&agent.interrupt()?)?;
    logged_exactly(&witnessed, LOG)?;
    balances()?;
    no_reads_are_left(kernel)
}

fn logs_a_storm(kernel: &Kernel) -> Outcome {
    let own = own_path()?;
    let _installed = Installed::started()?;
    let agent = Agent::record(&[])?;
    let mut witnessed = witness::run(kernel, &format!("{own} play parallel 200"))?;
    witnessed.extend(witness::run(kernel, &format!("{own} play threads 50"))?);
    let line = format!("{own} play load winmm.dll version.dll");
    witnessed.extend(witness::run(kernel, &line)?);
    done(&agent.interrupt()?)?;
    logged_exactly(&witnessed, LOG)?;
    balances()
}

fn keeps_a_store(kernel: &Kernel) -> Outcome {
    const STORE: &str = r"C:\systrail\store";
    const ENDED: &str = "SELECT process_id, exit_code FROM processes WHERE exit_code IS NOT NULL";
    let _installed = Installed::started()?;
    let agent = Agent::record(&["--store", STORE])?;
    let witnessed = witness::run(kernel, "cmd /c cmd /c exit 3")?;
    // The store answers while it is written.
    agent::succeed(&["query", "--store", STORE, ENDED])?;
    done(&agent.interrupt()?)?;
    balances()?;
    let answer = agent::succeed(&["query", "--store", STORE, "--format", "jsonl", ENDED])?;
    let mut told = answer
        .lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line)?;
            Ok((row["process_id"].as_u64(), row["exit_code"].as_u64()))
        })
        .collect::<Result<Vec<_>, serde_json::Error>>()?;
    let mut expected: Vec<_> = witnessed
        .iter()
        .filter_map(|fact| match fact {
            Fact::ProcessExit {
                process_id,
                exit_status,
                ..
            } => Some((Some(u64::from(*process_id)), Some(u64::from(*exit_status)))),
            _ => None,
        })
        .collect();
    told.sort_unstable();
    expected.sort_unstable();
    ensure(
        told == expected,
        format!("witnessed {expected:?}, told {told:?}"),
    )
}

fn survives_a_kill(kernel: &Kernel) -> Outcome {
    let _installed = Installed::started()?;
    let agent = Agent::record(&[])?;
    witness::run(kernel, "cmd /c exit 1")?;
    agent.kill()?;
    no_reads_are_left(kernel)?;
    let witnessed = witness::run(kernel, "cmd /c exit 2")?;
    let agent = Agent::record(&[])?;
    done(&agent.interrupt()?)?;
    // What the first one had not been handed comes too.
    let processes = fact::processes(&witnessed);
    let mut logged = agent::facts(LOG)?;
    logged.retain(|fact| processes.contains(&fact.process_id()));
    same_as_logged(&witnessed, logged)?;
    balances()
}

fn outlives_the_driver(kernel: &Kernel) -> Outcome {
    let _installed = Installed::started()?;
    let agent = Agent::record(&[])?;
    let service = Service::open(DRIVER_SERVICE)?;
    service.stop()?;
    reach(&service, STOPPED)?;
    let ended = agent.wait()?;
    ensure(
        ended.status.code() == Some(1) && ended.said.contains("driver"),
        format!("it ended with {} and said {}", ended.status, ended.said),
    )?;
    no_reads_are_left(kernel)
}

fn refuses_to_stop_a_busy_driver(kernel: &Kernel) -> Outcome {
    let _installed = Installed::started()?;
    let agent = Agent::record(&[])?;
    for word in ["stop", "uninstall"] {
        let output = agent::command(&["driver", word])?;
        ensure(!output.status.success(), format!("{word} was done"))?;
        ensure(
            kernel.report()?.is_loaded,
            format!("{word} took the driver"),
        )?;
    }
    done(&agent.interrupt()?)
}

fn refuses_a_second_agent(kernel: &Kernel) -> Outcome {
    let _installed = Installed::started()?;
    let first = Agent::record(&[])?;
    let output = agent::command(&["run", "--source", "driver", "--no-log", "--no-store"])?;
    let said = agent::said(&output);
    ensure(
        output.status.code() == Some(1) && said.contains("another"),
        format!("the second ended with {} and said {said}", output.status),
    )?;
    // The first one has lost nothing by it.
    let witnessed = witness::run(kernel, "cmd /c exit 5")?;
    done(&first.interrupt()?)?;
    logged_exactly(&witnessed, LOG)
}

fn idles(kernel: &Kernel) -> Outcome {
    const TIME: Duration = Duration::from_secs(10);
    let _installed = Installed::started()?;
    let agent = Agent::record(&[])?;
    // The seam is over when its last reads are pended.
    std::thread::sleep(Duration::from_secs(1));
    kernel.reset()?;
    std::thread::sleep(TIME);
    let report = kernel.report()?;
    done(&agent.interrupt()?)?;
    ensure(
        report.requests.is_empty() && report.calls.is_empty(),
        format!("requests {:?}, calls {:?}", report.requests, report.calls),
    )?;
    ensure(
        report.pended == u64::try_from(READS)?,
        format!("{} reads were pended", report.pended),
    )
}

pub(crate) fn done(ended: &Ended) -> Outcome {
    ensure(
        ended.status.success(),
        format!("it ended with {} and said {}", ended.status, ended.said),
    )
}

pub(crate) fn balances() -> Outcome {
    balances_in(Path::new(SUMMARY))
}

/// Whether the account in a file balances.
pub(crate) fn balances_in(summary: &Path) -> Outcome {
    let summary: Value = serde_json::from_str(&std::fs::read_to_string(summary)?)?;
    ensure(
        summary["balanced"] == Value::Bool(true),
        format!("the account: {summary}"),
    )
}

pub(crate) fn no_reads_are_left(kernel: &Kernel) -> Outcome {
    const TIME_MAX: Duration = Duration::from_secs(10);
    let begin = Instant::now();
    while kernel.report()?.pended != 0 {
        ensure(begin.elapsed() < TIME_MAX, "reads are still pended")?;
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Compares what was witnessed with what stands in the log.
pub(crate) fn logged_exactly(witnessed: &[Fact], log: &str) -> Outcome {
    same_as_logged(witnessed, agent::facts(log)?)
}

/// Without regard to order: the agent puts events into that of their times.
fn same_as_logged(witnessed: &[Fact], mut logged: Vec<Fact>) -> Outcome {
    let mut witnessed = fact::as_logged(witnessed, &witness::drives()?);
    witnessed.sort();
    logged.sort();
    fact::same(&witnessed, &logged)?;
    Ok(())
}
