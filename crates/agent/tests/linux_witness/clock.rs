//! Times of events.

use crate::lives::Lives;
use crate::recorder::{Plan, Recorder};
use crate::witness::{Stage, is_emulated, now, own_process_id, tiny};

/// The recorder takes the difference between the clocks of the kernel and of the day once, within
/// some microseconds, and lets it age until it is wrong by 200 of them.
const TOLERANCE_NS: i64 = 500_000;
/// An emulated machine can stand still between any two readings of its clocks.
const TOLERANCE_EMULATED_NS: i64 = 20_000_000;

#[test]
fn the_time_of_an_event_is_when_it_happened() {
    let Some(stage) = Stage::set() else {
        return;
    };
    let recorder = Recorder::start(stage.path(), Plan::default());
    let mut witness = Vec::new();
    for _ in 0..100 {
        let before = now();
        let mut child = tiny(&stage.program, 1).spawn().unwrap();
        let started = now();
        child.wait().unwrap();
        witness.push((child.id(), before, started, now()));
    }
    let recording = recorder.stop();

    let tolerance = if is_emulated() {
        TOLERANCE_EMULATED_NS
    } else {
        TOLERANCE_NS
    };
    let lives = Lives::of(&recording);
    for (process_id, before, started, ended) in witness {
        let life = lives.one(own_process_id(), i32::try_from(process_id).unwrap());
        let is_between =
            |time: i64, from: i64, to: i64| from - tolerance <= time && time <= to + tolerance;
        let (start, exec, exit) = (life.start.time, life.exec().time, life.exit().time);
        assert!(
            is_between(start, before, started),
            "{before} {start} {started}"
        );
        assert!(is_between(exec, start, ended), "{start} {exec} {ended}");
        assert!(is_between(exit, exec, ended), "{exec} {exit} {ended}");
        let run_time = life.exit().run_time_ns.unwrap();
        assert!(
            is_between(start + run_time, exit, exit),
            "{start} {run_time} {exit}"
        );
    }
}
