//! What rules decide by the event itself: fields of the event, groups, names, one kind and not another.

use super::*;
use crate::trail::{ProcessExit, Setting};

fn start(parent: &str, line: &str) -> Body {
    ProcessStart {
        parent: Parent {
            parent_image: Some(parent.into()),
            ..Parent::default()
        },
        program: Program {
            command_line: Some(line.into()),
            ..program("/bin/sh")
        },
        ..ProcessStart::default()
    }
    .into()
}

fn kept(rules: &Rules, body: &Body) -> bool {
    match body {
        Body::ProcessStart(start) => decide(rules, &start.program, body).is_kept(),
        body => decide(rules, &program("/bin/sh"), body).is_kept(),
    }
}

#[test]
fn a_field_of_the_event_is_asked_when_it_is_told() {
    let by_nginx = rule(&[("parent_image", &["*/nginx"]), ("image", &["/bin/*"])]);
    let only = rules(std::slice::from_ref(&by_nginx), &[]);
    assert!(kept(&only, &start("/usr/sbin/nginx", "sh")));
    assert!(!kept(&only, &start("/usr/bin/make", "sh")));
    let without = rules(&[], &[by_nginx]);
    assert!(!kept(&without, &start("/usr/sbin/nginx", "sh")));
    assert!(kept(&without, &start("/usr/bin/make", "sh")));
}

/// One include rule about loads silenced every start and exit.
#[test]
fn an_include_rule_leaves_kinds_alone_that_it_is_not_about() {
    let rules = rules(&[rule(&[("loaded_image", &["/opt/*"])])], &[]);
    let shell = program("/bin/sh");
    let verdict = judge(&rules, &shell);
    for kind in Kind::OBSERVED {
        assert!(verdict.keeps(kind), "{kind}");
    }
    assert!(!keeps_load(&rules, &shell, Some("/lib/libc.so"), None));
    let parents = self::rules(&[rule(&[("parent_image", &["/opt/*"])])], &[]);
    assert!(!kept(&parents, &start("/bin/sh", "sh")));
    assert!(keeps_load(&parents, &shell, Some("/lib/libc.so"), None));
}

fn with(change_fn: impl FnOnce(&mut Conditions)) -> Rule {
    let mut rule = Rule::default();
    change_fn(&mut rule.conditions);
    rule
}

#[test]
fn groups_are_any_of_all_of_and_none_of() {
    let line = |text: &'static str| conditions(&[("command_line", &[text])]);
    let decide = |rule: Rule, told: &str| {
        let rules = rules(&[rule], &[]);
        kept(&rules, &start("/bin/x", told))
    };
    let any = || with(|it| it.any = vec![line("*curl*"), line("*wget*")]);
    assert!(decide(any(), "sh wget") && !decide(any(), "sh nc"));
    let all = || with(|it| it.all = vec![line("*curl*"), line("*| sh*")]);
    assert!(decide(all(), "curl x | sh") && !decide(all(), "curl x"));
    let not = || with(|it| it.not = vec![line("*curl*"), line("*wget*")]);
    assert!(decide(not(), "nc") && !decide(not(), "wget x"));
    let twice = || rule(&[("command_line", &["*curl*"]), ("command_line", &["*http*"])]);
    assert!(decide(twice(), "curl http://x") && !decide(twice(), "curl ftp://x"));
    // No field, so a rule of `not` alone meets an event that does not have it.
    let parent = || with(|it| it.not = vec![conditions(&[("parent_user", &["root"])])]);
    assert!(decide(parent(), "sh"));
}

#[test]
fn a_program_that_nobody_knows_meets_what_is_included_and_nothing_that_is_excluded() {
    let shell = image("/bin/sh");
    let not = with(|it| it.not = vec![conditions(&[("image", &["/bin/sh"])])]);
    for rule in [shell, not] {
        let only = rules(std::slice::from_ref(&rule), &[]);
        assert!(only.judge(None).keeps(Kind::PROCESS_EXIT), "{rule:?}");
        let without = rules(&[], &[rule]);
        assert!(without.judge(None).keeps(Kind::PROCESS_EXIT));
    }
}

/// What cannot be had later is kept: whoever has a parent that is gone would hide behind it.
#[test]
fn a_field_that_was_lost_meets_what_is_included() {
    let rules = rules(&[rule(&[("parent_image", &["/usr/sbin/nginx"])])], &[]);
    let body = Body::from(ProcessStart::default());
    let decide = |reason: &'static str| {
        let missing: [(Name, Name); 1] = [("parent_image".into(), reason.into())];
        let told = Told {
            missing: &missing,
            ..Told::whole(&body)
        };
        let shell = program("/bin/sh");
        let runs = Some(Runs::whole(&shell));
        rules.decide(rules.judge(runs), runs, told).is_kept()
    };
    assert!(decide("lost") && decide("gone"));
    assert!(!decide("kernel_thread") && !decide("unavailable"));
}

/// A directory of a container, and a path of no root, are not the host's.
#[cfg(not(windows))]
#[test]
fn a_path_of_another_tree_is_left_out_by_no_rule_that_does_not_say_so() {
    let told = |directory: &str, scope: Option<&'static str>| {
        Body::from(ProcessStart {
            setting: Setting {
                working_directory: Some(directory.into()),
                working_directory_scope: scope.map(Into::into),
                ..Setting::default()
            },
            parent: Parent {
                parent_image: Some("/bin/x".into()),
                ..Parent::default()
            },
            ..ProcessStart::default()
        })
    };
    let opt = ("working_directory", &["/opt/*"][..]);
    let of_host = rules(&[], &[rule(&[opt])]);
    assert!(!kept(&of_host, &told("/opt/x", None)));
    assert!(kept(&of_host, &told("/opt/x", Some("mount_namespace"))));
    assert!(kept(&of_host, &told("opt/x", None)), "it was cut");
    let scope = ("working_directory_scope", &["mount_namespace"][..]);
    let of_other = rules(&[], &[rule(&[opt, scope])]);
    assert!(!kept(&of_other, &told("/opt/x", Some("mount_namespace"))));
    assert!(kept(&of_other, &told("/opt/x", None)));
    let parent = rules(&[], &[rule(&[("parent_image", &["*/x"])])]);
    assert!(!kept(&parent, &told("/", None)));
}

fn named(name: &str, rule: Rule) -> Rule {
    let label = KeptBy {
        rule_name: Some(name.into()),
        tags: None,
    };
    Rule {
        label: Some(Arc::new(label)),
        ..rule
    }
}

#[test]
fn an_event_has_the_name_of_the_first_rule_that_matches() {
    let rules = rules(
        &[
            named("nginx", rule(&[("parent_image", &["*/nginx"])])),
            named("shells", image("/bin/sh")),
            image("*"),
        ],
        &[],
    );
    let name = |image: &str, body: &Body| match decide(&rules, &program(image), body) {
        Decision::Kept(label) => label.and_then(|label| label.rule_name.clone()),
        Decision::LeftOut => Some("left out".into()),
    };
    let by_nginx = start("/usr/sbin/nginx", "sh");
    assert_eq!(name("/bin/sh", &by_nginx).as_deref(), Some("nginx"));
    let by_make = start("/bin/make", "sh");
    assert_eq!(name("/bin/sh", &by_make).as_deref(), Some("shells"));
    let load = Body::ImageLoad(ImageLoad::default());
    assert_eq!(name("/bin/sh", &load).as_deref(), Some("shells"));
    assert_eq!(name("/bin/cat", &load), None);
}

/// The loads by which a program begins come before its exec.
#[test]
fn the_loads_of_a_program_are_its_own_while_it_is_executed() {
    let body = Body::ImageLoad(ImageLoad {
        image: Some("/lib/ld.so".into()),
        process_image: Some("/opt/tool".into()),
        ..ImageLoad::default()
    });
    let decide = |rules: &Rules, is_executing| {
        let told = Told {
            is_executing,
            ..Told::whole(&body)
        };
        let shell = program("/bin/sh");
        let runs = Some(Runs::whole(&shell));
        rules.decide(rules.judge(runs), runs, told).is_kept()
    };
    let only = rules(&[image("/opt/tool")], &[]);
    assert!(decide(&only, true) && !decide(&only, false));
    let without = rules(&[], &[image("/opt/tool")]);
    assert!(!decide(&without, true) && decide(&without, false));
    // What it runs with is not told yet.
    let line = rule(&[("image", &["/opt/tool"]), ("command_line", &["*x*"])]);
    assert!(decide(&rules(std::slice::from_ref(&line), &[]), true));
    assert!(decide(&rules(&[], &[line]), true));
}

/// A rule that also asks for a field of the event saw the begin of a line as all of it.
#[test]
fn a_command_line_that_was_cut_is_so_in_every_event() {
    let asked: &[(&str, &[&str])] = &[("command_line", &["*--secret*"]), ("exit_code", &["0"])];
    let truncated: [Name; 1] = ["command_line".into()];
    let shell = program("/bin/sh");
    let runs = Some(Runs {
        truncated: &truncated,
        ..Runs::whole(&shell)
    });
    let body = Body::ProcessExit(ProcessExit {
        exit_code: Some(0),
        ..ProcessExit::default()
    });
    let keeps = |rules: &Rules| {
        let verdict = rules.judge(runs);
        rules.decide(verdict, runs, Told::whole(&body)).is_kept()
    };
    assert!(keeps(&rules(&[rule(asked)], &[])));
    assert!(keeps(&rules(&[], &[rule(asked)])));
}

/// A loaded image without an inode was taken for the program, which has one.
#[test]
fn what_a_program_and_an_image_both_have_is_the_images_where_one_is_told() {
    let rules = rules(&[], &[rule(&[("inode", &["7"])])]);
    let shell = Program {
        inode: Some(7),
        ..program("/bin/sh")
    };
    let load = |inode| {
        Body::ImageLoad(ImageLoad {
            inode,
            ..ImageLoad::default()
        })
    };
    let keeps = |body: &Body| decide(&rules, &shell, body).is_kept();
    assert!(keeps(&load(None)) && keeps(&load(Some(8))) && !keeps(&load(Some(7))));
    assert!(!keeps(&Body::ProcessExit(ProcessExit::default())));
}

#[test]
fn a_number_and_a_truth_value_are_compared_as_they_are_written() {
    let exit = |code| {
        Body::ProcessExit(ProcessExit {
            exit_code: Some(code),
            ..Default::default()
        })
    };
    let rules = rules(&[rule(&[("exit_code", &["1?"])])], &[]);
    assert!(kept(&rules, &exit(13)) && !kept(&rules, &exit(3)));
    let kernel = self::rules(&[], &[rule(&[("kernel_image", &["true"])])]);
    let load = |kernel_image| {
        Body::ImageLoad(ImageLoad {
            kernel_image,
            ..ImageLoad::default()
        })
    };
    assert!(!kept(&kernel, &load(true)) && kept(&kernel, &load(false)));
}
