//! What the driver promises for the reads that an agent keeps pending, seen on Wine: each is ended
//! once, whoever goes first.

use crate::fact::same;
use crate::kernel::{DRIVER_SERVICE, Driver, Kernel};
use crate::reader::{self, READS, Reader};
use crate::sys::device::{Access, Device};
use crate::{Outcome, Test, ensure, own_path, witness};
use std::io;
use std::process::Command;
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    Test {
        name: "driver_refuses_a_second_reader",
        run_fn: refuses_a_second_reader,
    },
    Test {
        name: "driver_ends_each_cancelled_read_once",
        run_fn: ends_cancelled_reads,
    },
    Test {
        name: "driver_ends_each_read_of_a_closed_handle_once",
        run_fn: ends_reads_of_a_closed_handle,
    },
    Test {
        name: "driver_ends_each_read_of_a_killed_reader_once",
        run_fn: ends_reads_of_a_killed_reader,
    },
    Test {
        name: "driver_that_stops_ends_each_read_once",
        run_fn: ends_reads_when_it_stops,
    },
];

/// `ERROR_OPERATION_ABORTED`, which a cancelled request ends with.
const ABORTED: i32 = 995;
/// `ERROR_SHARING_VIOLATION`
const SHARING_VIOLATION: i32 = 32;
/// How long something may take that happens at once.
const AT_ONCE: Duration = Duration::from_secs(10);

fn refuses_a_second_reader(_kernel: &Kernel) -> Outcome {
    let _driver = Driver::started()?;
    let first = reader::open()?;
    // Wine opens the file all the same; the test kernel lets its first request fail with the status.
    let second = reader::open().err();
    ensure(
        second.as_ref().and_then(io::Error::raw_os_error) == Some(SHARING_VIOLATION),
        format!("the second reader came to {second:?}"),
    )?;
    // Counters need no right, so that a status can be asked for meanwhile.
    let observer = Device::open(DRIVER_SERVICE, Access::Attributes)?;
    reader::counters(&observer)?;
    drop(first);
    reader::open()?;
    Ok(())
}

fn is_pended(kernel: &Kernel, count: u64) -> Outcome {
    let pended = kernel.report()?.pended;
    ensure(pended == count, format!("{pended} reads are pended"))
}

/// The test kernel sees every completion, and a second one is a breach.
fn completions(kernel: &Kernel) -> io::Result<u64> {
    Ok(kernel.report()?.calls("IofCompleteRequest"))
}

fn ends_cancelled_reads(kernel: &Kernel) -> Outcome {
    let _driver = Driver::started()?;
    let device = reader::open()?;
    let mut reads = reader::pended(&device)?;
    is_pended(kernel, u64::try_from(READS)?)?;
    let before = completions(kernel)?;
    for read in &mut reads {
        read.cancel();
    }
    for read in reads {
        ensure(read.wait(AT_ONCE), "a cancelled read does not end")?;
        let error = read.finish().err();
        ensure(
            error.as_ref().and_then(io::Error::raw_os_error) == Some(ABORTED),
            format!("a cancelled read ends with {error:?}"),
        )?;
    }
    is_pended(kernel, 0)?;
    let ended = completions(kernel)? - before;
    ensure(
        ended == u64::try_from(READS)?,
        format!("{ended} were completed"),
    )
}

fn ends_reads_of_a_closed_handle(kernel: &Kernel) -> Outcome {
    let _driver = Driver::started()?;
    let device = reader::open()?;
    let reads = reader::pended(&device)?;
    is_pended(kernel, u64::try_from(READS)?)?;
    drop(reads);
    drop(device);
    wait_for_none_pended(kernel)?;
    reader::open()?;
    Ok(())
}

fn ends_reads_of_a_killed_reader(kernel: &Kernel) -> Outcome {
    let driver = Driver::started()?;
    let mut child = Command::new(own_path()?).args(["play", "read"]).spawn()?;
    let mut waited = Duration::ZERO;
    while kernel.report()?.pended < u64::try_from(READS)? {
        let pause = Duration::from_millis(10);
        std::thread::sleep(pause);
        waited += pause;
        ensure(waited < AT_ONCE, "the reader does not read")?;
    }
    child.kill()?;
    child.wait()?;
    wait_for_none_pended(kernel)?;
    // The driver goes on: what happens now waits for the next reader.
    let witnessed = witness::run(kernel, "cmd /c exit 1")?;
    let seen = Reader::start()?.stop()?;
    driver.stop()?;
    same(&witnessed, &seen.facts)?;
    Ok(())
}

fn wait_for_none_pended(kernel: &Kernel) -> Outcome {
    let mut waited = Duration::ZERO;
    while kernel.report()?.pended != 0 {
        let pause = Duration::from_millis(10);
        std::thread::sleep(pause);
        waited += pause;
        ensure(waited < AT_ONCE, "reads are still pended")?;
    }
    Ok(())
}

fn ends_reads_when_it_stops(kernel: &Kernel) -> Outcome {
    let driver = Driver::started()?;
    let device = reader::open()?;
    let reads = reader::pended(&device)?;
    is_pended(kernel, u64::try_from(READS)?)?;
    driver.stop()?;
    for read in reads {
        ensure(read.wait(AT_ONCE), "a read outlives the driver")?;
        ensure(read.finish().is_err(), "a read ends as if it had read")?;
    }
    Ok(())
}
