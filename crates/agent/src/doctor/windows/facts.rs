//! What the system tells of itself. Each fact is read by itself, and one that cannot be read says
//! so in its value.

use std::path::Path;

use super::{Fact, State};
use crate::service::windows::{AGENT, Agent, Driver, DriverState, Parameters};
use crate::sys::code_integrity;
use crate::sys::privilege;
use crate::sys::registry::{self, Value};

/// Everything that explains why the driver does or does not run.
pub(super) fn gather(data_directory: &Path) -> Vec<Fact> {
    let mut facts = vec![
        system(),
        elevation(),
        signing(),
        memory_integrity(),
        secure_boot(),
        driver(),
    ];
    facts.extend(settings());
    facts.extend([agent(), data(data_directory)]);
    facts
}

/// What is to be done although nothing is in the way of recording: a setting the driver refused.
pub(super) fn advice() -> Option<String> {
    let refused = Driver::state().ok()?.refused();
    refused.into_iter().next()
}

fn fact(name: &'static str, state: State, value: impl Into<String>) -> Fact {
    Fact {
        name,
        state,
        value: value.into(),
    }
}

fn system() -> Fact {
    const KEY: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion";
    let text = |name| match registry::value(KEY, name) {
        Ok(Some(Value::Text(text))) => text,
        _ => "unknown".to_owned(),
    };
    let (product, build) = (text("ProductName"), text("CurrentBuildNumber"));
    // The first build with everything the driver calls is that of Windows 10 1809.
    let state = match build.parse::<u32>() {
        Ok(number) if number < 17_763 => State::Limits,
        _ => State::Info,
    };
    fact("system", state, format!("{product}, build {build}"))
}

fn elevation() -> Fact {
    match privilege::is_elevated() {
        Ok(true) => fact("elevation", State::Good, "administrator"),
        Ok(false) => fact(
            "elevation",
            State::Limits,
            "none; open the prompt with \"Run as administrator\"",
        ),
        Err(error) => fact("elevation", State::Info, format!("not told: {error}")),
    }
}

fn signing() -> Fact {
    match code_integrity::read() {
        Ok(integrity) if !integrity.is_enforced => {
            fact("driver_signing", State::Info, "not enforced")
        }
        Ok(integrity) if integrity.takes_test_certificates => fact(
            "driver_signing",
            State::Info,
            "enforced; test signing is on, so certificates made for tests count",
        ),
        Ok(_) => {
            let needed = signature_needed(installation_type().as_deref());
            let value = format!("enforced; test signing is off, so the driver needs {needed}");
            fact("driver_signing", State::Info, value)
        }
        Err(error) => fact("driver_signing", State::Info, format!("not told: {error}")),
    }
}

/// `Client`, `Server`, `Server Core` ..., as Windows says it of itself.
fn installation_type() -> Option<String> {
    const KEY: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion";
    match registry::value(KEY, "InstallationType") {
        Ok(Some(Value::Text(text))) => Some(text),
        _ => None,
    }
}

/// Microsoft's signature that a machine of this type asks for.
fn signature_needed(installation_type: Option<&str>) -> &'static str {
    match installation_type {
        Some(server) if server.starts_with("Server") => {
            "Microsoft's signature after HLK tests; Windows Server takes no other"
        }
        _ => "Microsoft's signature",
    }
}

fn memory_integrity() -> Fact {
    let value = match code_integrity::read() {
        Ok(integrity) if integrity.has_memory_integrity => "on (HVCI)".to_owned(),
        Ok(_) => "off".to_owned(),
        Err(error) => format!("not told: {error}"),
    };
    fact("memory_integrity", State::Info, value)
}

fn secure_boot() -> Fact {
    const KEY: &str = r"SYSTEM\CurrentControlSet\Control\SecureBoot\State";
    let value = match registry::value(KEY, "UEFISecureBootEnabled") {
        Ok(Some(Value::Number(0))) => "off".to_owned(),
        Ok(Some(Value::Number(_))) => "on; test signing cannot be switched on".to_owned(),
        Ok(_) => "not there".to_owned(),
        Err(error) => format!("not told: {error}"),
    };
    fact("secure_boot", State::Info, value)
}

fn driver() -> Fact {
    let state = match Driver::state() {
        Ok(state) => state,
        Err(error) => return fact("driver", State::Info, format!("not told: {error}")),
    };
    let fitting = if state.is_running || state.file.is_none() {
        State::Info
    } else {
        State::Limits
    };
    fact("driver", fitting, driver_line(&state))
}

fn driver_line(state: &DriverState) -> String {
    let Some(file) = &state.file else {
        return "not installed; `systrail run` installs it for as long as it records".to_owned();
    };
    let starts = if state.starts_at_boot {
        "starts with the system"
    } else {
        "starts on demand"
    };
    let runs = match (&state.told, &state.untold) {
        (Some((welcome, _)), _) => format!("runs, protocol {}", welcome.protocol_version),
        (None, Some(untold)) => format!("runs, and cannot be asked: {untold}"),
        (None, None) => "does not run; `systrail driver start`".to_owned(),
    };
    format!("{runs}; {starts}; {}", file.display())
}

/// What the registry sets, and what the driver refused of it.
fn settings() -> Vec<Fact> {
    let refused = Driver::state().map(|state| state.refused());
    let refused = refused.unwrap_or_default().into_iter();
    let mut facts: Vec<Fact> = refused
        .map(|refused| fact("driver_setting", State::Limits, refused))
        .collect();
    for (name, value) in Parameters::values().unwrap_or_default() {
        let value = match value {
            Value::Number(number) => number.to_string(),
            Value::Text(_) | Value::Other => "not a REG_DWORD".to_owned(),
        };
        facts.push(fact(
            "driver_setting",
            State::Info,
            format!("{name} {value}"),
        ));
    }
    facts
}

fn agent() -> Fact {
    match Agent::state() {
        Ok(Some((state, _process))) => fact("service", State::Info, format!("{AGENT} {state}")),
        Ok(None) => fact(
            "service",
            State::Info,
            format!("{AGENT} not installed; `systrail service install` does"),
        ),
        Err(error) => fact("service", State::Info, format!("not told: {error}")),
    }
}

fn data(directory: &Path) -> Fact {
    let shown = directory.display();
    let value = if directory.is_dir() {
        format!("{shown}")
    } else {
        format!("{shown}, made when something is recorded")
    };
    fact("data_directory", State::Good, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_told_that_it_takes_no_attested_driver() {
        for server in ["Server", "Server Core"] {
            assert!(signature_needed(Some(server)).contains("HLK"), "{server}");
        }
        for other in [Some("Client"), None] {
            assert_eq!(signature_needed(other), "Microsoft's signature");
        }
    }
}
