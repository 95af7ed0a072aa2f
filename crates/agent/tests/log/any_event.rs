//! Events of every kind with anything in them that the types allow and SysTrail can make.

use std::borrow::Cow;
use std::sync::Arc;

use event::{Kind, ProcessKey};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use systrail::account::{Account, Count, Counts, QueuePeak, SinkCount};
use systrail::trail::{
    Body, Detection, Event, ExecDetails, ExecFailed, Further, ImageDetails, ImageFile, ImageLoad,
    ImageUnload, KeptBy, LoadDetails, Lost, LostRange, Mark, Origin, Parent, ProcessExec,
    ProcessExit, ProcessStart, Program, ProgramFile, SensorStart, SensorStop, Setting,
    StartDetails, Text, ThreadDetails, ThreadExit, ThreadStart, Time, Usage, UserId, Whence,
};

/// An event of any kind.
pub(crate) fn event() -> impl Strategy<Value = Event> {
    let names = btree_set("[a-z_]{1,12}", 0..4);
    let reasons = btree_map(string(), string(), 0..4);
    let common = (any::<u64>(), any::<i64>(), origin(), any::<u32>(), key());
    let told = (common, body(), kept_by(), names, reasons);
    told.prop_map(|(common, body, kept_by, truncated, missing)| {
        let (sequence, time, origin, process_id, process_key) = common;
        Event {
            sequence,
            time: Time(time),
            origin,
            process_id,
            process_key,
            body,
            kept_by,
            truncated: truncated.into_iter().map(Cow::Owned).collect(),
            missing: missing
                .into_iter()
                .map(|(field, reason)| (Cow::Owned(field), Cow::Owned(reason)))
                .collect(),
            further: Further::default(),
        }
    })
}

fn kept_by() -> impl Strategy<Value = Option<Arc<KeptBy>>> {
    let tags = option::of(vec(text(), 0..3).prop_map(Arc::from));
    let kept_by = (option::of(string()), tags).prop_map(|(rule_name, tags)| KeptBy {
        rule_name: rule_name.map(Into::into),
        tags,
    });
    // One that says nothing is none.
    kept_by.prop_map(|kept_by| (kept_by != KeptBy::default()).then(|| Arc::new(kept_by)))
}

fn origin() -> impl Strategy<Value = Arc<Origin>> {
    let whence = (string(), option::of(string()), any::<Option<u64>>());
    whence.prop_map(|(host, host_id, run)| {
        Arc::new(Origin::new(Whence {
            host: host.into(),
            host_id: host_id.map(Into::into),
            run,
        }))
    })
}

/// An event in which every field is there, of the kind `body` makes it.
pub(crate) fn full(body: Body) -> Event {
    Event {
        sequence: 42,
        time: Time(1_795_276_799_000_000_007),
        origin: Arc::new(Origin::new(Whence {
            host: "machine".into(),
            host_id: Some("00112233445566778899aabbccddeeff".into()),
            run: Some(1_795_276_790_000_000_000),
        })),
        process_id: 4242,
        process_key: ProcessKey(0x0123_4567_89ab_cdef),
        body,
        kept_by: Some(Arc::new(KeptBy {
            rule_name: Some("web shell".into()),
            tags: Some(["T1505.003".into(), Text::from_bytes(b"caf\xe9")].into()),
        })),
        truncated: vec!["arguments".into(), "command_line".into()],
        missing: vec![("user".into(), "unknown".into())],
        further: Further::default(),
    }
}

/// How many lines end in `bytes`.
pub(crate) fn line_feeds(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count() - 1
}

/// Every kind once, with every field there is.
pub(crate) fn full_events() -> Vec<Event> {
    let bodies = [
        Body::from(full_start()),
        Body::ProcessExec(Box::new(ProcessExec {
            program: full_program(),
            parent: full_parent(),
            setting: full_setting(),
            session_id: Some(9),
            details: Some(Box::new(full_exec_details())),
        })),
        Body::ProcessExit(ProcessExit {
            exit_code: Some(139),
            signal: Some(11),
            core_dumped: true,
            image: Some(Text::from_bytes(b"/bin/caf\xe9")),
            run_time_ns: Some(12_345_678),
            usage: Usage {
                user_time_ns: Some(7_000_000),
                system_time_ns: Some(3_000_000),
                peak_memory: Some(2_097_152),
                read_bytes: Some(4_096),
                written_bytes: Some(8_192),
            },
            session_id: Some(10),
        }),
        Body::ThreadStart(ThreadStart {
            thread_id: 4243,
            process_image: Some(Text::from_bytes(b"C:\\caf\xe9.exe")),
            creator_process_id: Some(1),
            creator_thread_id: Some(2),
            remote: true,
            start_address: Some(0x7fff_0000_1000),
            details: Some(Box::new(full_thread_details())),
        }),
        Body::ThreadExit(ThreadExit { thread_id: 4243 }),
        Body::ImageLoad(ImageLoad {
            image: Some(Text::from_bytes(b"/lib/caf\xe9.so")),
            image_deleted: true,
            path_scope: Some("root".into()),
            device: Some("254:1".into()),
            inode: Some(4_712),
            mount_namespace: Some(4_026_532_178),
            process_image: Some(Text::from_bytes(b"C:\\caf\xe9.exe")),
            image_base: 0x7f12_3456_7000,
            image_size: 1_048_576,
            kernel_image: true,
            signature_level: Some("windows".into()),
            signature_type: Some("embedded".into()),
            existing: true,
            details: Some(Box::new(full_load_details())),
        }),
        full_unload(),
        full_exec_failed(),
        full_image_details(),
        full_detection(),
        full_lost(),
        full_mark(),
        Body::SensorStart(SensorStart {
            source: "ebpf".into(),
            version: "0.1.0".into(),
            system: Some("linux".into()),
        }),
        Body::SensorStop(Box::new(SensorStop {
            source: "ebpf".into(),
            version: "0.1.0".into(),
            account: full_account(),
        })),
    ];
    bodies.into_iter().map(full).collect()
}

fn full_lost() -> Body {
    Body::Lost(Lost {
        lost_kind: Kind::THREAD_START,
        lost_count: 17,
        lost_reason: "buffer_full".into(),
        range: full_range(),
    })
}

fn full_detection() -> Body {
    Body::from(Detection {
        matched_sequence: 41,
        rule_id: Some("5b5bd3c2-5b0a-4a5e-9d0e-8f4a0d1c2b3a".into()),
        rule_title: "A shell from nowhere".into(),
        rule_level: "high".into(),
        rule_author: Some("Ada".into()),
        rule_tags: Some(vec![Text::from("attack.execution"), Text::from_bytes(b"caf\xe9")].into()),
    })
}

fn full_start() -> ProcessStart {
    ProcessStart {
        parent_process_id: Some(1),
        parent_process_key: Some(ProcessKey(7)),
        creator_process_id: Some(2),
        creator_thread_id: Some(3),
        program: Program {
            script: None,
            script_scope: None,
            ..full_program()
        },
        parent: full_parent(),
        setting: full_setting(),
        session_id: Some(9),
        integrity_level: Some("high".into()),
        elevated: Some(true),
        existing: true,
        kernel_process: true,
        name: Some(Text::from_bytes(b"caf\xe9d")),
        details: Some(Box::new(full_start_details())),
    }
}

/// A value of a struct with what is known of a file.
macro_rules! full_file {
    ($file:ident) => {
        $file {
            original_file_name: Some(Text::from_bytes(b"caf\xe9.exe")),
            description: Some(Text::from_bytes(b"a caf\xe9")),
            product: Some(Text::from_bytes(b"Caf\xe9")),
            company: Some(Text::from_bytes(b"Caf\xe9 Ltd")),
            file_version: Some(Text::from_bytes(b"1.2\xe9")),
            md5: Some("5d41402abc4b2a76b9719d911017c592".into()),
            sha1: Some("aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d".into()),
            sha256: Some("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824".into()),
            imphash: Some("114e27fbb0e975697f2f9988de884fa7".into()),
        }
    };
}

fn full_parent() -> Parent {
    Parent {
        parent_image: Some(Text::from_bytes(b"C:\\caf\xe9.exe")),
        parent_command_line: Some(Text::from_bytes(b"caf\xe9 \"one\"")),
        parent_user: Some("ATLAS\\ada".into()),
    }
}

fn full_setting() -> Setting {
    Setting {
        cgroup: Some(Text::from_bytes(b"/system.slice/caf\xe9.service")),
        container_id: Some("0123456789abcdef".repeat(4).into()),
        systemd_unit: Some("coffee.service".into()),
        working_directory: Some(Text::from_bytes(b"/caf\xe9/")),
        working_directory_scope: Some("none".into()),
        terminal: Some("pts/3".into()),
    }
}

fn full_start_details() -> StartDetails {
    StartDetails {
        logon_id: Some(0x3e7),
        image_opened: Some(Text::from_bytes(b"Z:\\caf\xe9.exe")),
        subsystem: Some("linux".into()),
        protection_level: Some("light_antimalware".into()),
        creation_status: Some(0xc000_0022),
        file: full_file!(ProgramFile),
    }
}

fn full_exec_details() -> ExecDetails {
    ExecDetails {
        sha256: Some("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824".into()),
        build_id: Some("8fa1b4c3".into()),
    }
}

fn full_image_details() -> Body {
    Body::from(ImageDetails {
        image: Some(Text::from_bytes(b"/lib/caf\xe9.so")),
        path_scope: Some("mount_namespace".into()),
        device: Some("254:1".into()),
        inode: Some(4_712),
        change_time_ns: Some(1_763_827_199_000_000_007),
        file_size: Some(1_048_577),
        sha256: Some("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824".into()),
        build_id: Some("8fa1b4c2".into()),
        original_file_name: Some(Text::from_bytes(b"caf\xe9.exe")),
        description: Some(Text::from_bytes(b"Caf\xe9")),
        product: Some(Text::from_bytes(b"Caf\xe9 Suite")),
        company: Some(Text::from_bytes(b"Caf\xe9 Ltd")),
        file_version: Some(Text::from_bytes(b"1.2\xe9")),
    })
}

fn full_thread_details() -> ThreadDetails {
    ThreadDetails {
        creator_image: Some(Text::from_bytes(b"C:\\caf\xe9 2.exe")),
        creator_command_line: Some(Text::from_bytes(b"caf\xe9 2")),
    }
}

fn full_load_details() -> LoadDetails {
    LoadDetails {
        file: full_file!(ImageFile),
        build_id: Some("8fa1b4c2".into()),
        signed: Some(true),
        signer: Some(Text::from_bytes(b"Caf\xe9 Ltd")),
        signature_status: Some(Text::from_bytes(b"Valid\xe9")),
    }
}

fn full_exec_failed() -> Body {
    Body::ExecFailed(ExecFailed {
        path: Some(Text::from_bytes(b"./caf\xe9")),
        error: "ENOENT".into(),
        process_image: Some(Text::from_bytes(b"/bin/caf\xe9")),
    })
}

fn full_unload() -> Body {
    Body::ImageUnload(ImageUnload {
        image: Some(Text::from_bytes(b"/lib/caf\xe9.so")),
        image_base: 0x7f12_3456_7000,
        image_size: 1_048_576,
        kernel_image: true,
    })
}

fn full_program() -> Program {
    Program {
        image: Some(Text::from_bytes(b"/bin/caf\xe9")),
        image_deleted: true,
        command_line: Some(Text::from_bytes(b"caf\xe9 one")),
        arguments: Some(Arc::from([Text::from_bytes(b"caf\xe9"), "one".into()])),
        user: Some("root".into()),
        user_id: Some(UserId::Uid(0)),
        real_user: Some("ada".into()),
        real_user_id: Some(1000),
        login_user: Some("grace".into()),
        login_user_id: Some(1001),
        script: Some(Text::from_bytes(b"/caf\xe9.sh")),
        path_scope: Some("mount_namespace".into()),
        device: Some("8:1".into()),
        inode: Some(4_711),
        mount_namespace: Some(4_026_532_177),
        script_scope: Some("detached".into()),
        environment: Some(vec![Text::from("LD_AUDIT="), Text::from_bytes(b"A=caf\xe9")].into()),
    }
}

fn full_mark() -> Body {
    Body::Mark(Mark {
        mark_reason: "heartbeat".into(),
    })
}

fn full_range() -> LostRange {
    LostRange {
        lost_run: Some(1_795_276_799_000_000_000),
        lost_from: Some(3),
        lost_to: Some(19),
    }
}

fn full_account() -> Account {
    let count = Count {
        produced: 5,
        delivered: 3,
        lost: 2,
        excluded: 1,
    };
    let mut kinds = Counts::default();
    *kinds.of(Kind::PROCESS_START).unwrap() = count;
    Account {
        source: "ebpf".to_owned(),
        duration_ns: 1_000_000_000,
        balanced: true,
        kinds,
        queues: vec![QueuePeak {
            name: "process buffer".to_owned(),
            peak: 4096,
            limit: 1_048_576,
            unit: "bytes".to_owned(),
        }],
        sinks: vec![SinkCount {
            name: "log".to_owned(),
            written: 3,
            lost: 0,
            waiting: 0,
        }],
        forwarded: Some(3),
        owed: Some(0),
        further: Further::default(),
    }
}

/// Unicode text, among it what terminals and parsers trip over.
pub(crate) fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,20}",
        any::<String>(),
        "[\"\\\\\\x00-\\x1f\\x7f-\\u{9f}\\u{202e}\\u{2028}\\u{2066}\\u{fffd}a]{0,12}",
    ]
}

/// Text as the system has it: any bytes.
pub(crate) fn text() -> impl Strategy<Value = Text> {
    prop_oneof![
        string().prop_map(|text| Text::from(&*text)),
        vec(any::<u8>(), 0..24).prop_map(|bytes| Text::from_bytes(&bytes)),
    ]
}

fn key() -> impl Strategy<Value = ProcessKey> {
    any::<u64>().prop_map(ProcessKey)
}

fn lost_range() -> impl Strategy<Value = LostRange> {
    // What SQL has numbers for.
    let number = || option::of(0..1_u64 << 63);
    (number(), number(), number()).prop_map(|(lost_run, lost_from, lost_to)| LostRange {
        lost_run,
        lost_from,
        lost_to,
    })
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        proptest::sample::select(Kind::OBSERVED.to_vec()),
        any::<u16>().prop_map(Kind),
    ]
}

fn user_id() -> impl Strategy<Value = UserId> {
    prop_oneof![
        any::<u32>().prop_map(UserId::Uid),
        string().prop_map(|sid| UserId::Sid(sid.into())),
    ]
}

/// Boxed: a strategy within strategies is a frame of the stack as large as all of them.
fn program() -> BoxedStrategy<Program> {
    let texts = (
        option::of(text()),
        option::of(text()),
        option::of(text()),
        any::<bool>(),
    );
    let arguments = option::of(vec(text(), 0..4));
    let user = (option::of(string()), option::of(user_id()));
    let other = || (option::of(string()), any::<Option<u32>>());
    let environment = option::of(vec(text(), 0..4));
    let places = (place(), option::of(string()), environment);
    (texts, arguments, user, other(), other(), places)
        .prop_map(|(texts, arguments, (user, user_id), real, login, places)| {
            let (place, script_scope, environment) = places;
            let (image, command_line, script, image_deleted) = texts;
            Program {
                image,
                image_deleted,
                command_line,
                arguments: arguments.map(Into::into),
                user: user.map(Into::into),
                user_id,
                real_user: real.0.map(Into::into),
                real_user_id: real.1,
                login_user: login.0.map(Into::into),
                login_user_id: login.1,
                script,
                path_scope: place.0.map(Into::into),
                device: place.1.map(Into::into),
                inode: place.2,
                mount_namespace: place.3,
                script_scope: script_scope.map(Into::into),
                environment: environment.map(Into::into),
            }
        })
        .boxed()
}

/// Scope, device, inode and mount namespace of a path.
fn place() -> impl Strategy<Value = (Option<String>, Option<String>, Option<u64>, Option<u32>)> {
    let (scope, device) = (option::of(string()), option::of(string()));
    (scope, device, any::<Option<u64>>(), any::<Option<u32>>())
}

fn body() -> BoxedStrategy<Body> {
    prop_oneof![
        process_start().boxed(),
        process_exec().boxed(),
        process_exit().boxed(),
        thread_start().boxed(),
        any::<u32>().prop_map(|thread_id| Body::ThreadExit(ThreadExit { thread_id })),
        image_load().boxed(),
        image_unload().boxed(),
        exec_failed().boxed(),
        image_details().boxed(),
        detection().boxed(),
        (kind(), any::<u64>(), string(), lost_range()).prop_map(
            |(lost_kind, lost_count, reason, range)| {
                Body::Lost(Lost {
                    lost_kind,
                    lost_count,
                    lost_reason: reason.into(),
                    range,
                })
            },
        ),
        string().prop_map(|reason| {
            Body::Mark(Mark {
                mark_reason: reason.into(),
            })
        }),
        (string(), string(), option::of(string())).prop_map(|(source, version, system)| {
            Body::SensorStart(SensorStart {
                source: source.into(),
                version: version.into(),
                system: system.map(Into::into),
            })
        }),
        sensor_stop().boxed(),
    ]
    .boxed()
}

fn process_exec() -> impl Strategy<Value = Body> {
    let hashes = (option::of(string()), option::of(string()));
    let own = hashes.prop_map(|(sha256, build_id)| ExecDetails {
        sha256: sha256.map(Into::into),
        build_id: build_id.map(Into::into),
    });
    let session = any::<Option<u32>>();
    (program(), parent(), setting(), session, details(own)).prop_map(
        |(program, parent, setting, session_id, details)| {
            Body::from(ProcessExec {
                program,
                parent,
                setting,
                session_id,
                details,
            })
        },
    )
}

fn image_details() -> impl Strategy<Value = Body> {
    // SQL has no greater ones.
    let number = || option::of(0..1_u64 << 63);
    let texts = vec(option::of(string()), 4);
    let numbers = (number(), number(), number());
    let version = vec(option::of(text()), 5);
    let all = (option::of(text()), texts, numbers, version);
    all.prop_map(|(image, mut texts, numbers, mut version)| {
        Body::from(ImageDetails {
            image,
            path_scope: texts.remove(0).map(Into::into),
            device: texts.remove(0).map(Into::into),
            inode: numbers.0,
            change_time_ns: numbers.1,
            file_size: numbers.2,
            sha256: texts.remove(0).map(Into::into),
            build_id: texts.remove(0).map(Into::into),
            original_file_name: version.remove(0),
            description: version.remove(0),
            product: version.remove(0),
            company: version.remove(0),
            file_version: version.remove(0),
        })
    })
}

fn detection() -> impl Strategy<Value = Body> {
    let rule = (
        option::of(string()),
        string(),
        string(),
        option::of(string()),
    );
    let tags = option::of(vec(text(), 0..4));
    // SQL has no greater ones.
    (0..1_u64 << 63, rule, tags).prop_map(|(matched_sequence, rule, tags)| {
        let (id, title, level, author) = rule;
        Body::from(Detection {
            matched_sequence,
            rule_id: id.map(Into::into),
            rule_title: title.into(),
            rule_level: level.into(),
            rule_author: author.map(Into::into),
            rule_tags: tags.map(Into::into),
        })
    })
}

fn process_start() -> impl Strategy<Value = Body> {
    let parent = (any::<Option<u32>>(), option::of(key()));
    let creator = (any::<Option<u32>>(), any::<Option<u32>>());
    let session = (
        any::<Option<u32>>(),
        any::<bool>(),
        option::of(string()),
        any::<Option<bool>>(),
    );
    let kernel = (any::<bool>(), option::of(text()));
    let own = (session, kernel, details(start_details()));
    let parent = (parent, self::parent(), setting());
    (parent, creator, program(), own).prop_map(|(parent, creator, program, own)| {
        let ((parent, parent_runs, setting), (session, kernel, details)) = (parent, own);
        Body::ProcessStart(Box::new(ProcessStart {
            parent_process_id: parent.0,
            parent_process_key: parent.1,
            creator_process_id: creator.0,
            creator_thread_id: creator.1,
            program,
            parent: parent_runs,
            setting,
            session_id: session.0,
            integrity_level: session.2.map(Into::into),
            elevated: session.3,
            existing: session.1,
            kernel_process: kernel.0,
            name: kernel.1,
            details,
        }))
    })
}

fn parent() -> impl Strategy<Value = Parent> {
    let texts = (option::of(text()), option::of(text()), option::of(string()));
    texts.prop_map(|(image, command_line, user)| Parent {
        parent_image: image,
        parent_command_line: command_line,
        parent_user: user.map(Into::into),
    })
}

fn setting() -> impl Strategy<Value = Setting> {
    let texts = (
        option::of(text()),
        option::of(string()),
        option::of(string()),
    );
    let place = (
        option::of(text()),
        option::of(string()),
        option::of(string()),
    );
    (texts, place).prop_map(|(group, place)| {
        let (cgroup, container_id, systemd_unit) = group;
        let (working_directory, scope, terminal) = place;
        Setting {
            cgroup,
            container_id: container_id.map(Into::into),
            systemd_unit: systemd_unit.map(Into::into),
            working_directory,
            working_directory_scope: scope.map(Into::into),
            terminal: terminal.map(Into::into),
        }
    })
}

fn process_exit() -> impl Strategy<Value = Body> {
    let status = (any::<Option<u32>>(), any::<Option<u32>>(), any::<bool>());
    let own = (option::of(text()), any::<Option<u64>>());
    let session = any::<Option<u32>>();
    // SQL has no greater ones.
    let number = || option::of(0..1_u64 << 63);
    let numbers = (number(), number(), number(), number(), number());
    let usage = numbers.prop_map(|(user, system, memory, read, written)| Usage {
        user_time_ns: user,
        system_time_ns: system,
        peak_memory: memory,
        read_bytes: read,
        written_bytes: written,
    });
    let own = (own, usage);
    (status, own, session).prop_map(|(status, ((image, run_time_ns), usage), session_id)| {
        Body::ProcessExit(ProcessExit {
            exit_code: status.0,
            signal: status.1,
            core_dumped: status.2,
            image,
            run_time_ns,
            usage,
            session_id,
        })
    })
}

fn thread_start() -> impl Strategy<Value = Body> {
    let creator = (any::<Option<u32>>(), any::<Option<u32>>(), any::<bool>());
    let own = (any::<Option<u64>>(), details(thread_details()));
    let process = (any::<u32>(), option::of(text()));
    (process, creator, own).prop_map(|(process, creator, (start_address, details))| {
        let (thread_id, process_image) = process;
        Body::ThreadStart(ThreadStart {
            thread_id,
            process_image,
            creator_process_id: creator.0,
            creator_thread_id: creator.1,
            remote: creator.2,
            start_address,
            details,
        })
    })
}

fn image_load() -> impl Strategy<Value = Body> {
    let flags = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        option::of(string()),
        option::of(string()),
    );
    let mapping = (any::<u64>(), any::<u64>());
    let images = (option::of(text()), option::of(text()));
    let own = (mapping, details(load_details()));
    (images, own, flags, place()).prop_map(
        |((image, process_image), ((image_base, image_size), details), flags, place)| {
            Body::ImageLoad(ImageLoad {
                image,
                image_deleted: flags.0,
                path_scope: place.0.map(Into::into),
                device: place.1.map(Into::into),
                inode: place.2,
                mount_namespace: place.3,
                process_image,
                image_base,
                image_size,
                kernel_image: flags.1,
                signature_level: flags.3.map(Into::into),
                signature_type: flags.4.map(Into::into),
                existing: flags.2,
                details,
            })
        },
    )
}

/// Any value of a struct with what is known of a file.
macro_rules! any_file {
    ($file:ident) => {{
        let texts = vec(option::of(text()), 5);
        let hashes = vec(option::of(string()), 4);
        (texts, hashes).prop_map(|(mut texts, mut hashes)| $file {
            original_file_name: texts.remove(0),
            description: texts.remove(0),
            product: texts.remove(0),
            company: texts.remove(0),
            file_version: texts.remove(0),
            md5: hashes.remove(0).map(Into::into),
            sha1: hashes.remove(0).map(Into::into),
            sha256: hashes.remove(0).map(Into::into),
            imphash: hashes.remove(0).map(Into::into),
        })
    }};
}

/// Details that few events have; those without a field are told as none.
fn details<T: Clone + Default + PartialEq + std::fmt::Debug>(
    details: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<Box<T>>> {
    let some = details.prop_map(|details| (details != T::default()).then(|| Box::new(details)));
    option::of(some).prop_map(Option::flatten)
}

fn start_details() -> impl Strategy<Value = StartDetails> {
    let logon = any::<Option<u64>>();
    let of_windows = (
        option::of(text()),
        option::of(string()),
        option::of(string()),
        any::<Option<u32>>(),
    );
    let all = (logon, of_windows, any_file!(ProgramFile));
    all.prop_map(|(logon_id, of_windows, file)| {
        let (image_opened, subsystem, protection_level, creation_status) = of_windows;
        StartDetails {
            image_opened,
            subsystem: subsystem.map(Into::into),
            protection_level: protection_level.map(Into::into),
            creation_status,
            logon_id,
            file,
        }
    })
}

fn thread_details() -> impl Strategy<Value = ThreadDetails> {
    let texts = (option::of(text()), option::of(text()));
    texts.prop_map(|texts| ThreadDetails {
        creator_image: texts.0,
        creator_command_line: texts.1,
    })
}

fn load_details() -> impl Strategy<Value = LoadDetails> {
    let texts = (option::of(text()), option::of(text()), option::of(string()));
    (texts, any::<Option<bool>>(), any_file!(ImageFile)).prop_map(|(texts, signed, file)| {
        LoadDetails {
            file,
            build_id: texts.2.map(Into::into),
            signed,
            signer: texts.0,
            signature_status: texts.1,
        }
    })
}

fn image_unload() -> impl Strategy<Value = Body> {
    let fields = (any::<u64>(), any::<u64>(), any::<bool>());
    (option::of(text()), fields).prop_map(|(image, (image_base, image_size, kernel_image))| {
        Body::ImageUnload(ImageUnload {
            image,
            image_base,
            image_size,
            kernel_image,
        })
    })
}

fn exec_failed() -> impl Strategy<Value = Body> {
    (option::of(text()), string(), option::of(text())).prop_map(|(path, error, process_image)| {
        Body::ExecFailed(ExecFailed {
            path,
            error: error.into(),
            process_image,
        })
    })
}

fn sensor_stop() -> impl Strategy<Value = Body> {
    (string(), string(), any::<[u64; 4]>(), string()).prop_map(
        |(source, version, numbers, name)| {
            let count = Count {
                produced: numbers[0],
                delivered: numbers[1],
                lost: numbers[2],
                excluded: numbers[3],
            };
            let mut account = full_account();
            *account.kinds.of(Kind::IMAGE_LOAD).unwrap() = count;
            account.queues[0].name = name;
            Body::SensorStop(Box::new(SensorStop {
                source: source.into(),
                version: version.into(),
                account,
            }))
        },
    )
}
