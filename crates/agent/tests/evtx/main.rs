//! Windows event logs as logs: made ones, damaged ones, hostile ones, and real ones where they are.
#![cfg(feature = "evtx")]

mod convert;
mod damage;
mod encoder;
mod folder;
mod hostile;
mod samples;

use std::io::Cursor;
use std::process::{Command, Output};

use systrail::replay;
use systrail::trail::{Body, Event};

/// What a log is read as.
pub(crate) struct ReadBack {
    /// Without those about the recording.
    pub(crate) events: Vec<Event>,
    /// What was passed over, or is damaged.
    pub(crate) errors: Vec<String>,
    pub(crate) remarks: Vec<String>,
}

/// Reads a log from its bytes, as from a pipe.
pub(crate) fn read(log: &[u8]) -> ReadBack {
    finish(replay::read(Box::new(Cursor::new(log.to_vec()))).unwrap())
}

fn finish(mut log: replay::Log) -> ReadBack {
    let (mut events, mut errors) = (Vec::new(), Vec::new());
    for event in log.by_ref() {
        match event {
            Ok(event) => events.push(event),
            Err(error) => errors.push(error.to_string()),
        }
    }
    events.retain(|event| !is_mark(event));
    let remarks = log.remarks().into_iter().map(|remark| remark.text);
    ReadBack {
        events,
        errors,
        remarks: remarks.collect(),
    }
}

fn is_mark(event: &Event) -> bool {
    matches!(event.body, Body::SensorStart(_) | Body::SensorStop(_))
}

pub(crate) fn systrail(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_systrail"));
    command.args(arguments).output().unwrap()
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
