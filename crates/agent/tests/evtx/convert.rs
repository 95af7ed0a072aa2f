//! What becomes of the values of a record.

use event::Kind;
use systrail::trail::value::Value;
use systrail::trail::{Body, Event, ProcessStart, UserId};
use systrail::tree::Tree;

use crate::encoder::{Entry, log};
use crate::read;

const GUID: &str = "{747F3D96-141C-5E41-0000-0010788B1E00}";
const PARENT_GUID: &str = "747F3D96-1363-5E41-0000-0010356F1500";

fn start() -> Entry {
    Entry::sysmon(
        1,
        &[
            ("UtcTime", "2020-02-10 08:28:12.848"),
            ("ProcessGuid", GUID),
            ("ProcessId", "3768"),
            ("Image", r"C:\a.exe"),
            ("CommandLine", "a.exe  b "),
            ("CurrentDirectory", r"C:\"),
            ("User", r"ATLAS\ada"),
            ("LogonId", "0x31a17"),
            ("TerminalSessionId", "1"),
            ("IntegrityLevel", "High"),
            ("Hashes", "SHA1=AB,MD5=CD,SHA256=EF01,IMPHASH=00000000"),
            ("ParentProcessGuid", PARENT_GUID),
            ("ParentProcessId", "8864"),
            ("ParentImage", r"C:\p.exe"),
            ("ParentCommandLine", "p.exe"),
            ("ParentUser", "-"),
            ("Company", "?"),
            ("Product", ""),
        ],
    )
}

fn start_of(event: &Event) -> &ProcessStart {
    match &event.body {
        Body::ProcessStart(start) => start,
        other => panic!("{other:?}"),
    }
}

fn shown<'e>(event: &'e Event, field: &str) -> Option<&'e str> {
    match event.field(field)? {
        Value::Text(text) => Some(text),
        Value::SystemText(text) => Some(text.shown()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_start_has_everything_that_sysmon_says_of_it() {
    let read = read(&log(&[&[start()]]));
    assert_eq!(read.errors, Vec::<String>::new());
    let event = &read.events[0];
    assert_eq!(event.time.to_string(), "2020-02-10T08:28:12.848000000Z");
    assert_eq!((&*event.origin.host, event.process_id), ("ATLAS", 3768));
    assert_eq!(
        shown(event, "command_line"),
        Some("a.exe  b "),
        "blanks are real"
    );
    assert_eq!(shown(event, "working_directory"), Some(r"C:\"));
    assert_eq!(shown(event, "parent_image"), Some(r"C:\p.exe"));
    assert_eq!(shown(event, "parent_command_line"), Some("p.exe"));
    assert_eq!(shown(event, "integrity_level"), Some("high"));
    assert_eq!(shown(event, "user"), Some(r"ATLAS\ada"));
    assert_eq!(shown(event, "sha256"), Some("ef01"));
    assert_eq!(shown(event, "md5"), Some("cd"));
    assert_eq!(event.field("logon_id"), Some(Value::Address(0x31a17)));
    assert_eq!(event.field("session_id"), Some(Value::Number(1)));
    for unknown in ["parent_user", "company", "product", "imphash"] {
        assert_eq!(shown(event, unknown), None, "{unknown}");
    }
}

#[test]
fn a_guid_is_a_process_with_braces_or_without() {
    let child = Entry::sysmon(
        1,
        &[
            ("ProcessGuid", "747F3D96-0000-5E41-0000-0010788B1E01"),
            ("ProcessId", "12"),
            ("ParentProcessGuid", GUID.trim_matches(['{', '}'])),
            ("ParentProcessId", "3768"),
        ],
    );
    let read = read(&log(&[&[start(), child]]));
    let [parent, child] = &*read.events else {
        panic!("{:?}", read.errors);
    };
    assert_eq!(start_of(child).parent_process_key, Some(parent.process_key));
    assert_ne!(child.process_key, parent.process_key);
}

/// `EventID` is an object where there are qualifiers.
#[test]
fn an_event_id_with_qualifiers_is_one() {
    let entry = Entry {
        has_qualifiers: true,
        ..start()
    };
    assert_eq!(read(&log(&[&[entry]])).events.len(), 1);
}

/// Versions of Sysmon have more or fewer values, in other orders.
#[test]
fn values_are_found_by_their_names() {
    let mut entry = start();
    entry.data.reverse();
    entry.data.insert(0, ("Unheard", vec![0x41]));
    let (other, usual) = (read(&log(&[&[entry]])), read(&log(&[&[start()]])));
    assert_eq!(other.events, usual.events);
}

/// An event of each id, about the process of [`start`].
fn entries_of_each_id() -> [Entry; 6] {
    [
        start(),
        Entry::sysmon(
            7,
            &[
                ("ProcessGuid", GUID),
                ("ProcessId", "3768"),
                ("Image", r"C:\a.exe"),
                ("ImageLoaded", r"C:\b.dll"),
                ("Signed", "true"),
                ("Signature", "Ada Ltd"),
                ("SignatureStatus", "Valid"),
            ],
        ),
        Entry::sysmon(6, &[("ImageLoaded", r"C:\c.sys"), ("Signed", "false")]),
        Entry::sysmon(
            8,
            &[
                ("SourceProcessId", "8864"),
                ("SourceImage", r"C:\p.exe"),
                ("TargetProcessGuid", GUID),
                ("TargetProcessId", "3768"),
                ("TargetImage", r"C:\a.exe"),
                ("NewThreadId", "840"),
                ("StartAddress", "0x02060000"),
            ],
        ),
        Entry::sysmon(
            5,
            &[
                ("UtcTime", "2020-02-10 08:28:13.848"),
                ("ProcessGuid", GUID),
                ("ProcessId", "3768"),
                ("Image", r"C:\a.exe"),
            ],
        ),
        Entry::sysmon(3, &[("ProcessId", "3768")]),
    ]
}

#[test]
fn the_other_events_of_sysmon_have_their_kinds() {
    let read = read(&log(&[&entries_of_each_id()]));
    let kinds: Vec<Kind> = read.events.iter().map(|event| event.body.kind()).collect();
    let (load, thread) = (Kind::IMAGE_LOAD, Kind::THREAD_START);
    assert_eq!(
        kinds,
        [Kind::PROCESS_START, load, load, thread, Kind::PROCESS_EXIT]
    );
    let [start, image, driver, thread, exit] = &*read.events else {
        panic!("{:?}", read.errors);
    };
    for event in [image, thread, exit] {
        assert_eq!(event.process_key, start.process_key);
    }
    assert_eq!(shown(image, "image"), Some(r"C:\b.dll"));
    assert_eq!(shown(image, "process_image"), Some(r"C:\a.exe"));
    assert_eq!(shown(image, "signer"), Some("Ada Ltd"));
    assert_eq!(image.field("signed"), Some(Value::Truth(true)));
    assert_eq!(driver.field("kernel_image"), Some(Value::Truth(true)));
    assert_eq!(driver.process_id, 0);
    assert_eq!(thread.field("remote"), Some(Value::Truth(true)));
    assert_eq!(
        thread.field("start_address"),
        Some(Value::Address(0x0206_0000))
    );
    assert_eq!(shown(thread, "creator_image"), Some(r"C:\p.exe"));
    assert_eq!(
        exit.field("run_time_ns"),
        Some(Value::Number(1_000_000_000))
    );
    assert_eq!(
        read.remarks,
        ["1 record became no event, telling of no process, thread or image: 1 Sysmon 3"]
    );
}

fn audited(id: &str, creator: &str) -> Entry {
    Entry::security(
        4688,
        &[
            ("SubjectUserSid", "S-1-5-18"),
            ("SubjectUserName", "ATLAS$"),
            ("SubjectDomainName", "SEA"),
            ("SubjectLogonId", "0x3e7"),
            ("NewProcessId", id),
            ("NewProcessName", r"C:\a.exe"),
            ("TokenElevationType", "%%1937"),
            ("ProcessId", creator),
            ("CommandLine", "-"),
            ("TargetUserSid", "S-1-0-0"),
            ("TargetUserName", "-"),
            ("TargetDomainName", "-"),
            ("TargetLogonId", "0x0"),
            ("MandatoryLabel", "S-1-16-16384"),
        ],
    )
}

/// Ids are hexadecimal text, and `ProcessId` of a start is the creator's.
#[test]
fn an_audited_start_has_the_new_process_and_its_creator() {
    let exit = |status| {
        let values = [
            ("Status", status),
            ("ProcessId", "0x1f4"),
            ("ProcessName", "-"),
        ];
        Entry::security(4689, &values)
    };
    let entries = [
        audited("0x1F4", "0x4"),
        audited("0x1f8", "0x1f4").after(1),
        exit("0xc0000005").after(2),
        audited("0x1f4", "0x4").after(3),
        audited("0x1fc", "0x1f4").after(4),
    ];
    let read = read(&log(&[&entries]));
    assert_eq!(read.errors, Vec::<String>::new());
    let [first, child, exit, second, other] = &*read.events else {
        panic!("{:?}", read.events);
    };
    assert_eq!(
        (first.process_id, start_of(first).parent_process_id),
        (500, Some(4))
    );
    assert_eq!(start_of(child).parent_process_key, Some(first.process_key));
    assert_eq!(exit.process_key, first.process_key);
    assert_eq!(exit.field("exit_code"), Some(Value::Number(0xc000_0005)));
    assert_eq!(
        exit.field("run_time_ns"),
        Some(Value::Number(2_000_000_000))
    );
    assert_ne!(second.process_key, first.process_key, "an id is used again");
    assert_eq!(start_of(other).parent_process_key, Some(second.process_key));
    assert_eq!(shown(first, "user"), Some(r"SEA\ATLAS$"));
    assert_eq!(
        start_of(first).program.user_id,
        Some(UserId::Sid("S-1-5-18".into()))
    );
    assert_eq!(shown(first, "integrity_level"), Some("system"));
    assert_eq!(first.field("elevated"), Some(Value::Truth(true)));
    assert_eq!(first.field("logon_id"), Some(Value::Address(0x3e7)));
    assert!(
        first
            .missing
            .contains(&("command_line".into(), "unknown".into()))
    );
}

/// A lone surrogate ended the reading of others.
#[test]
fn text_that_is_no_unicode_is_kept_with_its_bytes() {
    let mut entry = start();
    let units = [0x61, 0xd800, 0x1, 0x62];
    let of_command = entry
        .data
        .iter_mut()
        .find(|(name, _)| *name == "CommandLine");
    of_command.unwrap().1 = units.to_vec();
    let read = read(&log(&[&[entry, start()]]));
    assert_eq!(read.events.len(), 2, "{:?}", read.errors);
    let text = start_of(&read.events[0])
        .program
        .command_line
        .clone()
        .unwrap();
    assert_eq!(text.shown(), "a\u{fffd}\u{1}b");
    let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    assert_eq!(text.raw(), Some(&*bytes));
}

/// A collector's log has records of several machines, and none of the one that reads it.
#[test]
fn each_machine_is_its_own_host_with_its_own_numbers() {
    let on = |computer| Entry {
        computer,
        ..start()
    };
    let read = read(&log(&[&[on("one"), on("two"), on("one")]]));
    let told = read.events.iter();
    let told: Vec<_> = told
        .map(|event| (&*event.origin.host, event.sequence))
        .collect();
    // Before the first there is the start of the source.
    assert_eq!(told, [("one", 2), ("two", 2), ("one", 3)]);
}

/// Both logs of a machine tell of one start: it is one process.
#[test]
fn a_process_that_two_logs_tell_of_is_one() {
    let sysmon = |time| {
        let values = [
            ("UtcTime", time),
            ("ProcessGuid", GUID),
            ("ProcessId", "500"),
            ("Image", r"c:\A.exe"),
        ];
        Entry::sysmon(1, &values)
    };
    // 133_000_000_000_000_000 is 2022-06-18T04:26:40Z.
    let (audit, near) = (audited("0x1f4", "0x4"), sysmon("2022-06-18 04:26:40.010"));
    for entries in [[audit.clone(), near.clone()], [near, audit.clone()]] {
        let read = read(&log(&[&entries]));
        assert_eq!(read.events[0].process_key, read.events[1].process_key);
    }
    let later = sysmon("2022-06-18 04:27:40.010");
    let read = read(&log(&[&[audit, later]]));
    assert_ne!(read.events[0].process_key, read.events[1].process_key);
}

#[test]
fn a_record_without_its_process_is_passed_over() {
    let entry = Entry::sysmon(1, &[("Image", r"C:\a.exe")]);
    let read = read(&log(&[&[entry, start()]]));
    assert_eq!(
        read.errors,
        ["record 1 is passed over: it has no ProcessId"]
    );
    assert_eq!(read.events.len(), 1);
}

/// A log begins in the middle of an attack: who started its first process stands in that start alone.
#[test]
fn a_parent_that_only_its_child_tells_of_is_in_the_tree() {
    let read = read(&log(&[&[start()]]));
    let mut tree = Tree::default();
    tree.add(&read.events[0]).unwrap();
    let [parent, child] = tree.processes() else {
        panic!("{:?}", tree.processes());
    };
    assert_eq!(child.parent_process_key, Some(parent.process_key));
    assert_eq!((parent.process_id, &*parent.title()), (8864, "p.exe"));
    assert_eq!(parent.start_time, None);
}
