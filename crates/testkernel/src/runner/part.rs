//! The parts this program plays when it is the one that is watched.

use crate::sys::process::load_library;
use std::io;
use std::process::{Command, ExitCode};

/// Plays the part that `arguments` name.
pub(crate) fn play(arguments: &[String]) -> io::Result<ExitCode> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["exit", code] => Ok(ExitCode::from(number(code)?)),
        ["parallel", count] => parallel(number(count)?),
        ["threads", count] => threads(number(count)?),
        ["load", libraries @ ..] => {
            for library in libraries {
                load_library(library)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        ["read"] => read(),
        _ => Err(io::Error::other(format!("no part is called {words:?}"))),
    }
}

/// Starts that many processes, all before the first is waited for; each ends with its number.
fn parallel(count: u8) -> io::Result<ExitCode> {
    let program = std::env::current_exe()?;
    let children = (0..count)
        .map(|number| {
            Command::new(&program)
                .args(["play", "exit", &number.to_string()])
                .spawn()
        })
        .collect::<io::Result<Vec<_>>>()?;
    for mut child in children {
        child.wait()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn threads(count: u8) -> io::Result<ExitCode> {
    for _thread in 0..count {
        let thread = std::thread::Builder::new().spawn(|| {})?;
        thread
            .join()
            .map_err(|_panic| io::Error::other("a thread has panicked"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the driver until somebody ends this process.
fn read() -> io::Result<ExitCode> {
    let reader = crate::reader::Reader::start()?;
    reader.wait()?;
    Ok(ExitCode::SUCCESS)
}

fn number(text: &str) -> io::Result<u8> {
    text.parse()
        .map_err(|_invalid| io::Error::other(format!("{text} is no number for this")))
}
