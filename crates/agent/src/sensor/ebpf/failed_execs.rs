//! How execs that fail are seen: by what this kernel takes for it.

use aya::programs::FExit;
use aya::programs::fexit::FExitLink;
use aya::programs::tp_btf::BtfTracePointLink;
use aya::{Btf, Ebpf};

use super::btf::{Named, Types};
use super::object::{attach_tracepoint, load_program, missing, refused, tracepoint};
use super::{fields, images};
use crate::sensor::Error;

/// The programs on the functions that the kernel enters for an exec, named after them. Not every kernel
/// has those of 32 bits.
const FUNCTIONS: [&str; 4] = [
    "__x64_sys_execve",
    "__x64_sys_execveat",
    "__ia32_compat_sys_execve",
    "__ia32_compat_sys_execveat",
];
/// The program on the tracepoint of that name, which every system call passes.
const SYSTEM_CALLS: &str = "sys_exit";
/// The type of that tracepoint.
const SYSTEM_CALLS_TYPE: &str = "btf_trace_sys_exit";
/// Where records are put together: two for other programs, and one for each of these.
pub(super) const SCRATCH_COUNT: u32 = 6;

/// What one or the other of them is attached to.
pub(super) fn attached_to<'n>() -> impl Iterator<Item = Named<'n>> {
    let functions = FUNCTIONS.into_iter().map(Named::Function);
    functions.chain([Named::Typedef(SYSTEM_CALLS_TYPE)])
}

/// How execs that fail are seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FailedExecs {
    /// Not at all: nobody asked, or this kernel takes neither.
    Nowhere,
    /// By programs on these functions, which cost nothing but execs.
    ByFunctions(Vec<&'static str>),
    /// By a program on every system call, which makes each of them slower.
    BySystemCalls,
}

/// What is attached. Dropping it detaches it.
pub(super) struct Links {
    _functions: Vec<FExitLink>,
    _system_calls: Option<BtfTracePointLink>,
}

impl FailedExecs {
    /// Loads the programs, the better ones first.
    pub(super) fn load(ebpf: &mut Ebpf, btf: &Btf, types: &Types<'_>, runs_twice: bool) -> Self {
        if !fields::has_system_calls(types) {
            return Self::Nowhere;
        }
        let names = FUNCTIONS.into_iter();
        let names: Vec<_> = names.filter(|name| types.has_function(name)).collect();
        let mut is_taken = |name: &&str| {
            let program = function(ebpf, name);
            program.is_ok_and(|program| load_program(|| program.load(name, btf)).is_ok())
        };
        if !names.is_empty() && !images::is_tracing_off() && names.iter().all(&mut is_taken) {
            return Self::ByFunctions(names);
        }
        // Where it can be preempted it is skipped for any system call, and nobody could tell how many
        // of those were execs.
        let is_taken = !runs_twice
            && tracepoint(ebpf, SYSTEM_CALLS)
                .is_ok_and(|program| load_program(|| program.load(SYSTEM_CALLS, btf)).is_ok());
        if is_taken {
            Self::BySystemCalls
        } else {
            Self::Nowhere
        }
    }

    /// Attaches them.
    pub(super) fn attach(&self, ebpf: &mut Ebpf) -> Result<Links, Error> {
        let functions = self.functions().iter().map(|name| {
            let program = function(ebpf, name)?;
            let link = program.attach().and_then(|id| program.take_link(id));
            link.map_err(|error| refused(name, error))
        });
        Ok(Links {
            _functions: functions.collect::<Result<_, _>>()?,
            _system_calls: match self {
                Self::BySystemCalls => Some(attach_tracepoint(ebpf, SYSTEM_CALLS)?),
                Self::Nowhere | Self::ByFunctions(_) => None,
            },
        })
    }

    /// The functions whose programs see them, and are named after them.
    pub(super) fn functions(&self) -> &[&'static str] {
        match self {
            Self::ByFunctions(names) => names,
            Self::Nowhere | Self::BySystemCalls => &[],
        }
    }
}

fn function<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut FExit, Error> {
    let program = ebpf.program_mut(name).ok_or_else(|| missing(name))?;
    program.try_into().map_err(|error| refused(name, error))
}
