//! What the system tells of itself. Each fact is read by itself, and one that cannot be read says
//! so in its value.

use std::fs;
use std::io;
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use super::{Fact, State};
use crate::sys::proc;

/// Everything that explains why a tier does or does not run.
pub(super) fn gather(data_directory: &Path) -> Vec<Fact> {
    vec![
        kernel(),
        btf(),
        lockdown(),
        capabilities(),
        unprivileged_bpf(),
        perf_event_paranoid(),
        memlock(),
        pid_namespace(),
        clock_source(),
        data(data_directory),
        systemd(),
    ]
}

/// What is to be done although nothing is in the way of recording; there is nothing.
pub(super) fn advice() -> Option<String> {
    None
}

fn fact(name: &'static str, state: State, value: impl Into<String>) -> Fact {
    Fact {
        name,
        state,
        value: value.into(),
    }
}

/// A fact that is one line of a file.
fn line_of(path: &str) -> io::Result<String> {
    fs::read_to_string(path).map(|text| text.trim().to_owned())
}

fn kernel() -> Fact {
    match proc::kernel_setting("osrelease") {
        Ok(release) => fact("kernel", State::Info, release),
        Err(error) => fact("kernel", State::Info, format!("not told: {error}")),
    }
}

fn btf() -> Fact {
    const PATH: &str = "/sys/kernel/btf/vmlinux";
    match fs::metadata(PATH) {
        Ok(metadata) => fact(
            "btf",
            State::Good,
            format!("{PATH}, {} bytes", metadata.len()),
        ),
        Err(error) => fact(
            "btf",
            State::Limits,
            format!("{PATH}: {error}; a kernel with CONFIG_DEBUG_INFO_BTF=y has it"),
        ),
    }
}

/// The kernel's file lists all modes, with the one in force in brackets.
fn lockdown() -> Fact {
    let Ok(modes) = line_of("/sys/kernel/security/lockdown") else {
        return fact(
            "lockdown",
            State::Good,
            "not part of this kernel, or not mounted",
        );
    };
    let mode = modes
        .split_whitespace()
        .find_map(|mode| mode.strip_prefix('[')?.strip_suffix(']'))
        .unwrap_or("unknown");
    let state = if mode == "confidentiality" {
        State::Limits
    } else {
        State::Good
    };
    fact("lockdown", state, mode)
}

/// The capabilities that matter here, by their bit (`linux/capability.h`).
const CAPABILITIES: [(u32, &str); 7] = [
    (39, "CAP_BPF"),
    (38, "CAP_PERFMON"),
    (21, "CAP_SYS_ADMIN"),
    (19, "CAP_SYS_PTRACE"),
    (12, "CAP_NET_ADMIN"),
    (14, "CAP_IPC_LOCK"),
    (24, "CAP_SYS_RESOURCE"),
];

fn capabilities() -> Fact {
    let Some(mask) =
        proc::own_status("CapEff").and_then(|mask| u64::from_str_radix(&mask, 16).ok())
    else {
        return fact("capabilities", State::Info, "not told by /proc/self/status");
    };
    let held = |bit: u32| mask >> bit & 1 == 1;
    let names: Vec<&str> = CAPABILITIES
        .into_iter()
        .filter(|&(bit, _)| held(bit))
        .map(|(_, name)| name)
        .collect();
    let loads_programs = (held(39) && held(38)) || held(21);
    let state = if loads_programs {
        State::Good
    } else {
        State::Limits
    };
    match names.as_slice() {
        [] => fact("capabilities", state, "none of those that matter"),
        names => fact("capabilities", state, names.join(" ")),
    }
}

fn unprivileged_bpf() -> Fact {
    let value = match proc::kernel_setting("unprivileged_bpf_disabled") {
        Ok(value) if value == "0" => "allowed, though not for what is needed here".to_owned(),
        Ok(value) => format!("refused without CAP_BPF (unprivileged_bpf_disabled is {value})"),
        Err(error) => format!("no bpf system call, or not told: {error}"),
    };
    fact("bpf_unprivileged", State::Info, value)
}

fn perf_event_paranoid() -> Fact {
    match proc::kernel_setting("perf_event_paranoid") {
        Ok(level) => fact(
            "perf_event_paranoid",
            State::Info,
            format!("{level}; CAP_PERFMON goes past it"),
        ),
        Err(error) => fact(
            "perf_event_paranoid",
            State::Limits,
            format!("this kernel has no perf events: {error}"),
        ),
    }
}

fn memlock() -> Fact {
    let value = proc::own_limit("Max locked memory").unwrap_or_else(|| "not told".to_owned());
    fact("memlock", State::Info, format!("{value} (bytes)"))
}

fn pid_namespace() -> Fact {
    use crate::sys::pid_namespace::{is_initial, is_proc_initial};
    const CURE: &str = "run on the host, or with the host's (--pid=host)";
    let value = match (is_initial(), is_proc_initial()) {
        (true, _) => return fact("pid_namespace", State::Good, "the host's"),
        (false, true) => format!(
            "a container's, with the host's /proc; perf events have none of the host's ids; {CURE}"
        ),
        (false, false) => format!(
            "a container's, and so is /proc; what runs already outside it is not told, nor any \
             command line, and perf events have none of the host's ids; {CURE}"
        ),
    };
    fact("pid_namespace", State::Limits, value)
}

fn clock_source() -> Fact {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    match line_of(path) {
        Ok(source) => fact("clock", State::Info, source),
        Err(error) => fact("clock", State::Info, format!("not told: {error}")),
    }
}

fn data(directory: &Path) -> Fact {
    let shown = directory.display();
    // Where it is not there, it will be made in the nearest directory that is.
    let nearest = directory.ancestors().find(|ancestor| ancestor.exists());
    match nearest.map(|nearest| access(nearest, AccessFlags::W_OK)) {
        Some(Ok(())) => fact("data_directory", State::Good, format!("{shown}, writable")),
        Some(Err(error)) => fact(
            "data_directory",
            State::Limits,
            format!("{shown}: {}; name another with --log", error.desc()),
        ),
        None => fact(
            "data_directory",
            State::Limits,
            format!("{shown}: not there"),
        ),
    }
}

fn systemd() -> Fact {
    match sd_notify::booted() {
        Ok(true) => fact(
            "systemd",
            State::Good,
            "runs; `systrail service install` works",
        ),
        _ => fact(
            "systemd",
            State::Info,
            "does not run; start `systrail run` with the machine's own init system",
        ),
    }
}
