//! What is seen, as one file: the same page with its data in it, which asks nobody.

use std::path::Path;

use event::ProcessKey;
use serde_json::{Value, json};

use super::processes::Stories;
use super::{overview, processes};
use crate::page::{in_page, policy_hash};
use crate::quantity::show_count;
use crate::shown::date_and_time;
use crate::store::{Guard, Window};
use crate::trail::Time;

/// Stories of a file: of the chosen process and those above it, then of those that failed, then of others.
const STORIES_MAX: usize = 200;

/// Bytes of them.
const STORIES_SIZE_MAX: usize = 4 << 20;

/// What the page loads where it is served, and what stands there in a file.
const ICON: &str = "<link rel=\"icon\" href=\"icon.svg\">\n";
const STYLE: &str = "<link rel=\"stylesheet\" href=\"page.css\">";
const SCRIPT: &str = "<script src=\"page.js\" defer></script>\n";
const END: &str = "</body>";

/// A file, and what it may be called.
pub(super) struct File {
    pub(super) name: String,
    pub(super) page: String,
}

/// Puts it together.
pub(super) fn read(
    directory: &Path,
    window: Window,
    key: Option<ProcessKey>,
    (page, style, script): (&str, &str, &str),
    guard: &Guard,
) -> Result<File, String> {
    let all = overview::read(directory, guard).map_err(|error| error.to_string())?;
    let told = processes::read_told(directory, window, guard).map_err(|error| error.to_string())?;
    let opened = Stories::open(directory, window.until, guard)?;
    let (stories, left_count) = stories(&opened, key, &told.wanted())?;
    let name = name(all["host"].as_str().unwrap_or_default(), told.begin());
    let data = in_page(&json!({
        "overview": all,
        "processes": told,
        "stories": stories,
        "without_story": (left_count > 0).then(|| show_count(left_count, "process")),
        "key": key.map(|key| key.to_string()),
    }))
    .map_err(|error| error.to_string())?;
    Ok(File {
        name,
        page: whole(page, style, script, &data),
    })
}

/// The stories, by their keys, and how many processes have none.
fn stories(
    opened: &Stories,
    key: Option<ProcessKey>,
    wanted: &[ProcessKey],
) -> Result<(serde_json::Map<String, Value>, usize), String> {
    let mut stories = serde_json::Map::new();
    let mut size = 0;
    for key in key.iter().chain(wanted) {
        let name = key.to_string();
        if stories.contains_key(&name) {
            continue;
        }
        if stories.len() >= STORIES_MAX || size > STORIES_SIZE_MAX {
            break;
        }
        let story = opened.tell(*key)?;
        size += story.to_string().len();
        stories.insert(name, story);
    }
    let left_count = wanted.len().saturating_sub(stories.len());
    Ok((stories, left_count))
}

/// The host's name may be anything, a file's may not.
fn name(host: &str, begin: Time) -> String {
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '-';
    let host: String = host.chars().filter(is_plain).take(64).collect();
    let host = if host.is_empty() { "trail" } else { &host };
    let begin = date_and_time(begin).replace([' ', ':'], "-");
    let begin: String = begin.chars().filter(is_plain).take(19).collect();
    format!("systrail-{host}-{begin}.html")
}

/// The page with all that it needs in it, and a policy that runs this very script.
fn whole(page: &str, style: &str, script: &str, data: &str) -> String {
    let policy = format!(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src '{}'; \
         style-src '{}'; base-uri 'none'; form-action 'none'\">\n<style>{style}</style>",
        policy_hash(script),
        policy_hash(style)
    );
    let end = format!(
        "<script id=\"saved\" type=\"application/json\">{data}</script>\n<script>{script}</script>\n{END}"
    );
    let page = page.replacen(ICON, "", 1).replacen(SCRIPT, "", 1);
    page.replacen(STYLE, &policy, 1).replacen(END, &end, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page;

    #[test]
    fn what_is_replaced_stands_in_the_page() {
        let page = include_str!("page/page.html");
        for part in [ICON, STYLE, SCRIPT, END] {
            assert_eq!(page.matches(part).count(), 1, "{part}");
        }
        let whole = whole(page, "a{}", "b()", "{}");
        assert!(!whole.contains("page.js") && !whole.contains("page.css"));
        assert!(whole.contains("<style>a{}</style>") && whole.contains("<script>b()</script>"));
        // Neither ends its block early.
        let script = [page::SCRIPT, page::TIMELINE, include_str!("page/page.js")].concat();
        assert!(!script.contains("</script") && !page::STYLE.contains("</style"));
    }

    #[test]
    fn a_file_has_a_name_whatever_the_host_is_called() {
        let begin = Time(1_795_744_800_000_000_000);
        let named = name("atlas", begin);
        assert!(
            named.starts_with("systrail-atlas-2026-11-27-02-00-00"),
            "{named}"
        );
        assert!(name("../\"\r\n", begin).starts_with("systrail-trail-2026-"));
    }
}
