//! What the driver promises, seen on Wine: real processes, real requests, the shipped image.

use crate::fact::{Fact, same};
use crate::kernel::{DRIVER_PATH, DRIVER_SERVICE, Driver, Kernel};
use crate::reader::{self, Reader, is_drained};
use crate::sys::registry::set_number;
use crate::{Outcome, Test, ensure, own_path, witness};
use event::Kind;
use event::control::{Conditions, Counters};
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "test_kernel_notices_what_a_driver_may_not_do",
        run_fn: notices_breaches,
    },
    Test {
        name: "driver_that_starts_and_stops_leaves_nothing",
        run_fn: starts_and_stops,
    },
    Test {
        name: "driver_lets_only_system_and_administrators_in",
        run_fn: restricts_its_device,
    },
    Test {
        name: "driver_tells_a_small_tree_exactly",
        run_fn: tells_a_small_tree,
    },
    Test {
        name: "driver_tells_200_parallel_processes_exactly",
        run_fn: tells_parallel_processes,
    },
    Test {
        name: "driver_tells_threads_and_libraries_exactly",
        run_fn: tells_threads_and_libraries,
    },
    Test {
        name: "driver_keeps_what_happens_before_it_is_read",
        run_fn: keeps_what_waits,
    },
    Test {
        name: "driver_with_a_full_queue_counts_and_tells_what_is_lost",
        run_fn: tells_losses,
    },
    Test {
        name: "driver_refuses_settings_out_of_range_and_says_so",
        run_fn: refuses_settings,
    },
    Test {
        name: "driver_tells_within_the_flush_interval",
        run_fn: bounds_latency,
    },
    Test {
        name: "driver_in_which_any_call_fails_still_balances",
        run_fn: balances_when_calls_fail,
    },
    Test {
        name: "driver_that_is_idle_does_nothing",
        run_fn: idles,
    },
];

/// `D:P(A;;FA;;;SY)(A;;FA;;;BA)`, self-relative: only SYSTEM and administrators.
const ADMINISTRATORS_ONLY: &str = "\
    0100049000000000000000000000000014000000\
    0200340002000000\
    00001400ff011f00010100000000000512000000\
    00001800ff011f0001020000000000052000000020020000";

/// Without this the other tests would prove nothing: a check that cannot fire always holds.
fn notices_breaches(kernel: &Kernel) -> Outcome {
    const BREACHES: &[&str] = &[
        "the driver imports from KERNEL32.dll, which is not the kernel",
        "pool of kind 0 is not nonpaged and non-executable",
        "64 bytes of pool",
        "a block of pool was written behind its end",
        "pool with tag 0x79746c46 freed with 0x7268744f",
        "pool freed that is not allocated",
        "a thread notify routine was never removed",
        "a timer is left",
        "an event log entry was never written",
        "a subject context was never released",
        "references to objects",
        "a request is completed twice, or one the driver never had",
        "a spin lock is released that this processor does not hold",
        "ZwClose called at IRQL 2, allowed is 0",
        "a handle is closed that is not open",
        "DriverEntry came back at IRQL 2 instead of 0",
        "DriverEntry came back with a spin lock held",
    ];
    let driver = Driver::install(r"C:\systrail\faulty\systrail.sys")?;
    ensure(driver.start().is_err(), "it started")?;
    let breaches = kernel.report()?.breaches;
    kernel.reset()?;
    for expected in BREACHES {
        ensure(
            breaches.iter().any(|breach| breach.contains(expected)),
            format!("not noticed: {expected}; noticed: {}", breaches.join("; ")),
        )?;
    }
    Ok(())
}

fn starts_and_stops(kernel: &Kernel) -> Outcome {
    for _time in 0..3 {
        let driver = Driver::started()?;
        ensure(kernel.report()?.is_loaded, "the driver was not taken over")?;
        driver.stop()?;
        ensure(!kernel.report()?.is_loaded, "the driver is still there")?;
    }
    Ok(())
}

fn restricts_its_device(kernel: &Kernel) -> Outcome {
    let _driver = Driver::started()?;
    let descriptor = kernel.report()?.descriptor;
    ensure(
        descriptor == ADMINISTRATORS_ONLY,
        format!("its descriptor is {descriptor}"),
    )
}

fn tells_a_small_tree(kernel: &Kernel) -> Outcome {
    let facts = told_exactly(kernel, "cmd /c cmd /c exit 3")?;
    let statuses: Vec<u32> = exit_statuses(&facts);
    ensure(statuses == [3, 3], format!("exit codes {statuses:?}"))?;
    let parents: Vec<(u32, u32)> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::ProcessStart {
                process_id,
                parent_process_id,
                ..
            } => Some((*process_id, *parent_process_id)),
            _ => None,
        })
        .collect();
    let [(outer, runner), (_inner, parent)] = parents.as_slice() else {
        return Err(format!("{} processes started", parents.len()).into());
    };
    ensure(
        *runner == std::process::id() && parent == outer,
        format!("parents {parents:?}"),
    )
}

fn tells_parallel_processes(kernel: &Kernel) -> Outcome {
    const COUNT: u32 = 200;
    let line = format!("{} play parallel {COUNT}", own_path()?);
    let mut statuses = exit_statuses(&told_exactly(kernel, &line)?);
    statuses.sort_unstable();
    // The starter ends with 0, as its first child does.
    let expected: Vec<u32> = [0].into_iter().chain(0..COUNT).collect();
    ensure(statuses == expected, format!("exit codes {statuses:?}"))
}

fn tells_threads_and_libraries(kernel: &Kernel) -> Outcome {
    const THREADS: usize = 50;
    let line = format!("{} play threads {THREADS}", own_path()?);
    let facts = told_exactly(kernel, &line)?;
    let threads = facts
        .iter()
        .filter(|fact| matches!(fact, Fact::ThreadStart { .. }))
        .count();
    ensure(threads > THREADS, format!("{threads} threads started"))?;
    let line = format!("{} play load winmm.dll version.dll", own_path()?);
    let facts = told_exactly(kernel, &line)?;
    for library in ["winmm.dll", "version.dll"] {
        let is_told = facts.iter().any(|fact| match fact {
            Fact::ImageLoad { image, .. } => image.to_lowercase().ends_with(library),
            _ => false,
        });
        ensure(is_told, format!("{library} was not loaded"))?;
    }
    Ok(())
}

/// Runs a program and compares what the driver tells with what was witnessed, in order.
fn told_exactly(
    kernel: &Kernel,
    command_line: &str,
) -> Result<Vec<Fact>, Box<dyn std::error::Error>> {
    let driver = Driver::started()?;
    let reader = Reader::start()?;
    let witnessed = witness::run(kernel, command_line)?;
    let seen = reader.stop()?;
    driver.stop()?;
    same(&witnessed, &seen.facts)?;
    balances(&seen.counters)?;
    Ok(witnessed)
}

fn exit_statuses(facts: &[Fact]) -> Vec<u32> {
    facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::ProcessExit { exit_status, .. } => Some(*exit_status),
            _ => None,
        })
        .collect()
}

fn balances(counters: &Counters) -> Outcome {
    ensure(is_drained(counters), format!("the account: {counters:?}"))
}

fn keeps_what_waits(kernel: &Kernel) -> Outcome {
    let driver = Driver::started()?;
    let witnessed = witness::run(kernel, "cmd /c exit 7")?;
    let seen = Reader::start()?.stop()?;
    driver.stop()?;
    same(&witnessed, &seen.facts)?;
    Ok(())
}

fn tells_losses(kernel: &Kernel) -> Outcome {
    let driver = Driver::install(DRIVER_PATH)?;
    set_number(DRIVER_SERVICE, "Parameters", "QueueLimit", 64 * 1024)?;
    driver.start()?;
    // Six trees of some 20 loads of 200 bytes are more than 64 KiB hold.
    let line = format!("{} play parallel 30", own_path()?);
    let witnessed = witness::run(kernel, &line)?;
    let seen = Reader::start()?.stop()?;
    driver.stop()?;
    let produced = u64::try_from(witnessed.len())?;
    let kinds = &seen.counters.kinds;
    let told: u64 = kinds.iter().map(|(_kind, count)| count.produced).sum();
    ensure(
        told == produced,
        format!("{produced} witnessed, {told} counted"),
    )?;
    balances(&seen.counters)?;
    for (kind, count) in kinds.iter() {
        let lost = lost_of(&seen.facts, kind);
        ensure(
            lost == count.lost,
            format!("{lost} told as lost of {kind:?}, counted {count:?}"),
        )?;
    }
    let lost: u64 = kinds.iter().map(|(_kind, count)| count.lost).sum();
    ensure(lost > 0, "nothing was lost")?;
    // What was told is the beginning of what was witnessed: the newest is lost.
    let whole: Vec<&Fact> = seen
        .facts
        .iter()
        .filter(|fact| !matches!(fact, Fact::Lost { .. }))
        .collect();
    let mut rest = witnessed.iter();
    let is_subsequence = whole.iter().all(|fact| rest.any(|other| other == *fact));
    ensure(is_subsequence, "what was told was not witnessed so")
}

fn lost_of(facts: &[Fact], wanted: Kind) -> u64 {
    facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::Lost { kind, count } if *kind == wanted.0 => Some(*count),
            _ => None,
        })
        .sum()
}

fn refuses_settings(_kernel: &Kernel) -> Outcome {
    let driver = Driver::install(DRIVER_PATH)?;
    set_number(DRIVER_SERVICE, "Parameters", "QueueLimit", 1)?;
    set_number(DRIVER_SERVICE, "Parameters", "FlushIntervalMs", 5000)?;
    driver.start()?;
    let device = reader::open()?;
    let counters = reader::counters(&device)?;
    let both = Conditions::QUEUE_LIMIT_REFUSED.with(Conditions::FLUSH_INTERVAL_REFUSED);
    ensure(
        counters.conditions == both,
        format!("its conditions are {:?}", counters.conditions),
    )?;
    let welcome = reader::shake_hands(&device)?;
    ensure(
        (welcome.queue_limit, welcome.flush_interval_ms) == (4 * 1024 * 1024, 50),
        format!("it says {welcome:?}"),
    )
}

fn bounds_latency(kernel: &Kernel) -> Outcome {
    const INTERVAL_MS: u32 = 1000;
    // What the system needs to wake a thread and to carry a request, on a busy machine.
    const SLACK: Duration = Duration::from_secs(1);
    let driver = Driver::install(DRIVER_PATH)?;
    set_number(DRIVER_SERVICE, "Parameters", "FlushIntervalMs", INTERVAL_MS)?;
    driver.start()?;
    let reader = Reader::start()?;
    witness::run(kernel, "cmd /c cmd /c exit 0")?;
    let seen = reader.stop()?;
    let interval = Duration::from_millis(u64::from(INTERVAL_MS));
    ensure(
        seen.latency_max < interval + SLACK,
        format!("an event arrived after {:?}", seen.latency_max),
    )?;
    // The events of the tree came in few batches: the driver waited to fill them.
    ensure(
        seen.counters.batches <= u64::try_from(seen.facts.len())?.div_ceil(2),
        format!("{} batches", seen.counters.batches),
    )
}

/// While it runs a failing call costs a field or a record, which is counted, and nothing else.
fn balances_when_calls_fail(kernel: &Kernel) -> Outcome {
    const CALLS: &[&str] = &[
        "PsLookupThreadByThreadId",
        "ObOpenObjectByPointer",
        "ZwQueryInformationThread",
        "ZwQueryInformationToken",
        "MmMapLockedPagesSpecifyCache",
    ];
    let line = format!("{} play threads 4", own_path()?);
    let driver = Driver::install(DRIVER_PATH)?;
    // The driver asks each thread for its start address.
    set_number(DRIVER_SERVICE, "Parameters", "StartAddress", 2)?;
    driver.start()?;
    for function in CALLS {
        for nth in [1, 3] {
            kernel.fail(function, nth)?;
            let reader = Reader::start()?;
            let witnessed = witness::run(kernel, &line)?;
            let has_struck = kernel.report()?.has_struck;
            kernel.fail(function, 0)?;
            let what = format!("call {nth} of {function} fails");
            ensure(has_struck, format!("{what}: it never came"))?;
            match reader.stop() {
                Ok(seen) => ensure(
                    seen.facts.len() == witnessed.len(),
                    format!("{what}: {} of {}", seen.facts.len(), witnessed.len()),
                )?,
                // A read whose pages cannot be mapped fails; what was queued waits for the next.
                Err(_failed) => {
                    let seen = Reader::start()?.stop()?;
                    balances(&seen.counters)?;
                }
            }
        }
    }
    driver.stop()?;
    Ok(())
}

/// Nothing happens: no request but the reads that are pended, no timer, no deferred routine.
fn idles(kernel: &Kernel) -> Outcome {
    const TIME: Duration = Duration::from_secs(10);
    let _driver = Driver::started()?;
    let device = reader::open()?;
    let reads = reader::pended(&device)?;
    kernel.reset()?;
    std::thread::sleep(TIME);
    let report = kernel.report()?;
    drop(reads);
    ensure(
        report.requests.is_empty() && report.calls.is_empty(),
        format!("requests {:?}, calls {:?}", report.requests, report.calls),
    )
}
