//! What is told of the recording itself: losses, and the sensor's start and stop.

use std::borrow::Cow;

use event::Kind;

use crate::account::Account;
use crate::schema::fields;

fields! {
    /// Events were lost here.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Lost {
        /// the kind of the events; `any` where nobody counts them by kind, `kind_N` for a number this version has no name for
        lost_kind: Kind => KindName in Row since 1;
        /// how many
        lost_count: u64 => Number in Row since 1;
        /// why, and for a sink's loss which sink: `buffer_full`, `log:write_failed`
        lost_reason: Cow<'static, str> => PlainText in Row since 1;
    }
}

fields! {
    /// A sensor began to record.
    #[derive(Clone, Debug, PartialEq)]
    pub struct SensorStart {
        /// the sensor: `ebpf`, `perf`, `connector`, `driver`, `etw`, `driver+etw`, `replay`; `etl` for a trace of Windows
        source: Cow<'static, str> => PlainText in Row since 1;
        /// the version of the agent
        version: Cow<'static, str> => PlainText in Row since 1;
        /// the operating system: `linux`, `windows`
        system: Option<Cow<'static, str>> => MaybePlainText in Row since 2,
            ecs "host.os.type";
    }
}

fields! {
    /// A sensor stopped.
    #[derive(Clone, Debug, PartialEq)]
    pub struct SensorStop {
        /// the sensor: `ebpf`, `perf`, `connector`, `driver`, `etw`, `driver+etw`, `replay`; `etl` for a trace of Windows
        source: Cow<'static, str> => PlainText in Row since 1;
        /// the version of the agent
        version: Cow<'static, str> => PlainText in Row since 1;
        /// the account so far
        account: Account => WholeAccount in Row since 1;
    }
}
