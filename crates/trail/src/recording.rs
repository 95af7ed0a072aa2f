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
        /// which events they were
        range: LostRange => Group in Apart since 3;
    }
}

fields! {
    /// Which events were lost, where they had been recorded and had sequences.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct LostRange {
        /// the `run` of the events, where they had been recorded and did not reach the receiver of the fleet
        lost_run: Option<u64> => MaybeNumber in Noted since 3;
        /// the `sequence` of the first of them
        lost_from: Option<u64> => MaybeNumber in Noted since 3;
        /// the `sequence` of the last
        lost_to: Option<u64> => MaybeNumber in Noted since 3;
    }
}

fields! {
    /// The recording goes on.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Mark {
        /// why it is said: `heartbeat`, as nothing else was for a while
        mark_reason: Cow<'static, str> => PlainText in Row since 3;
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
