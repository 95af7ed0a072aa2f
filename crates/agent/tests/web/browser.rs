//! The page in a real browser, where one is installed.

use std::env;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::{Served, log_of, store_of};

/// The document as a browser has it when nothing more happens; nothing where there is no browser.
fn document(served: &Served, fragment: &str) -> Option<String> {
    let (address, token) = (served.address, &served.token);
    document_of(&format!("http://{address}/?token={token}#{fragment}"))
}

/// The same of any page.
fn document_of(page: &str) -> Option<String> {
    let profile = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("chromium");
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .args(["--virtual-time-budget=8000", "--window-size=1200,800"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(page);
    match command.stdin(Stdio::null()).stderr(Stdio::null()).output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        // The pictures of the documents need it, tests can do without.
        Err(error) => {
            writeln!(std::io::stderr(), "did not run: chromium: {error}").expect("a line");
            assert!(env::var_os("SYSTRAIL_BROWSER").is_none(), "{error}");
            None
        }
    }
}

/// Names are shown in the tree, in a story and in an answer of SQL, and are names everywhere.
#[test]
fn no_name_becomes_a_part_of_the_page() {
    let directory = tempfile::tempdir().expect("a directory");
    let name = "</script><img src=x onerror=document.title='got'>\u{202e}gpj";
    let log = log_of(directory.path(), &[name, "sleep 1"]);
    let served = Served::start(&store_of(&log, directory.path()));
    let story = "key=c000000000000001";
    let sql = "tab=SQL&sql=SELECT%20command_line%2C%20process_key%20FROM%20processes";
    for (fragment, ready) in [(story, "data-ready=\"2\""), (sql, "data-answered=\"2\"")] {
        let Some(document) = document(&served, fragment) else {
            return;
        };
        assert!(document.contains(ready), "{document}");
        assert!(
            document.contains("&lt;/script&gt;&lt;img src=x onerror="),
            "{document}"
        );
        assert!(
            document.contains("u{202e}gpj") && !document.contains('\u{202e}'),
            "{document}"
        );
        // As an element it would have quotes.
        assert!(!document.contains("<img src=\"x\""), "{document}");
        assert!(
            document.contains("<title>atlas · SysTrail</title>"),
            "{document}"
        );
        // The token is gone from the address, what is looked at is not.
        assert!(!document.contains(&served.token));
    }
}

/// A page could be looked at only as long as it was served.
#[test]
fn a_saved_page_shows_the_same_without_anybody_to_ask() {
    let directory = tempfile::tempdir().expect("a directory");
    let name = "</script><img src=x onerror=document.title='got'>";
    let log = log_of(directory.path(), &[name, "sleep 1"]);
    let served = Served::start(&store_of(&log, directory.path()));
    let reply = served.get("/api/page?key=c000000000000001");
    drop(served);
    let named = reply.header("content-disposition").expect("a name");
    assert!(
        named.starts_with("attachment; filename=\"systrail-atlas-") && named.ends_with(".html\"")
    );
    let file = directory.path().join("saved.html");
    std::fs::write(&file, &reply.body).expect("a file");
    let Some(document) = document_of(&format!("file://{}", file.display())) else {
        return;
    };
    assert!(document.contains("data-ready=\"2\""), "{document}");
    assert!(document.contains("<title>atlas · SysTrail</title>"));
    // The story of the chosen process, as the server tells it.
    let shown = "&lt;/script&gt;&lt;img src=x onerror=";
    let story = document.split("id=\"story\"").nth(1).expect("a story");
    assert!(
        story.contains(shown) && story.contains("c000000000000001"),
        "{story}"
    );
    assert!(!document.contains("<img src=\"x\""), "{document}");
}
