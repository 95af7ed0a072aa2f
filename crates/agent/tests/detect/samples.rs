//! Real logs that nobody here made. They are not in the repository: `SYSTRAIL_SAMPLES` is a folder whose
//! folder `evtx` has them. Where it is not set the test says that it did not run.

use std::env;
use std::path::Path;

use super::found;

/// What each log is named for, and the rule that finds it.
const FOUND: [(&str, &str); 9] = [
    (
        "DSE_bypass_BYOV_TDL_dummydriver_sysmon_6_7_13.evtx",
        "A driver of a virtual machine is loaded by another program than its own",
    ),
    (
        "Sysmon_Exec_CompiledHTML.evtx",
        "A help file starts a shell",
    ),
    (
        "evasion_execution_imageload_wuauclt_lolbas.evtx",
        "The update client loads a library that is not the system's",
    ),
    (
        "exec_msxsl_xsl_sysmon_1_7.evtx",
        "A transformation of XML runs scripts",
    ),
    (
        "exec_sysmon_1_7_jscript9_defense_evasion.evtx",
        "A program of a user's directory loads the engine of a script",
    ),
    (
        "exec_sysmon_1_lolbin_pcalua.evtx",
        "A program is started by the compatibility assistant",
    ),
    (
        "meterpreter_migrate_to_explorer_sysmon_8.evtx",
        "A thread is started in the shell by a program of a user",
    ),
    (
        "rundll32_cmd_schtask.evtx",
        "A task is made from a file in a temporary directory",
    ),
    (
        "rundll32_hollowing_wermgr_masquerading.evtx",
        "The error reporter is started by rundll32",
    ),
];

#[test]
#[expect(
    clippy::print_stdout,
    reason = "a test that did not run says so to who looks at it"
)]
fn each_log_has_what_its_name_says_and_nothing_else() {
    let Some(folder) = env::var_os("SYSTRAIL_SAMPLES") else {
        println!("did not run: SYSTRAIL_SAMPLES does not say where the samples are");
        return;
    };
    for (log, title) in FOUND {
        let found = found(&Path::new(&folder).join("evtx").join(log));
        let titles: Vec<_> = found.iter().map(|row| row["rule_title"].clone()).collect();
        assert_eq!(titles, [title], "{log}");
    }
}
