//! Which control group a process is in, and what that says: its container, its unit.

use std::sync::Arc;

use event::{Extension, Header};
use foldhash::HashMap;

use super::Enricher;
use super::parent::Notes;
use crate::sys::machine;
use crate::trail::{Setting, Text, missing};

/// Groups that are remembered. Then all are forgotten and asked for again.
const COUNT_MAX: usize = 4_096;

/// How long it is believed that a group cannot be found.
const ASKED_AGAIN_NS: u64 = 100_000_000;

/// Characters of a container's id.
const CONTAINER_ID_SIZE: usize = 64;

/// What engines call the scope of a container, before its id: Docker, Podman, containerd and CRI-O.
/// Their monitors, as `crio-conmon-`, are outside it.
const CONTAINER_SCOPES: [&str; 5] = ["docker-", "libpod-", "cri-containerd-", "crio-", "nerdctl-"];

/// What units end with that can have processes.
const UNIT_KINDS: [&str; 5] = ["service", "scope", "socket", "mount", "swap"];

/// A control group, as the trail tells it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cgroup {
    pub(super) path: Text,
    pub(super) container_id: Option<Arc<str>>,
    pub(super) systemd_unit: Option<Arc<str>>,
}

/// The groups by their ids, which no other group gets as long as the system runs.
#[derive(Debug, Default)]
pub(super) struct Cgroups {
    known: HashMap<u64, Known>,
}

/// What was found of a group, and when on the sensor's clock.
#[derive(Debug)]
struct Known {
    group: Option<Cgroup>,
    asked: u64,
}

impl Cgroups {
    /// The group with this id, which the process is in at `now`; `None` where it is gone, or nobody here
    /// can tell.
    pub(super) fn get(&mut self, id: u64, process_id: u32, now: u64) -> Option<&Cgroup> {
        if self.known.len() >= COUNT_MAX && !self.known.contains_key(&id) {
            self.known.clear();
        }
        let ask_fn = || Known {
            group: machine::cgroup_path(id, process_id).map(|path| Cgroup::of(&path)),
            asked: now,
        };
        let known = self.known.entry(id).or_insert_with(ask_fn);
        // The next process in it may still be there to be asked.
        if known.group.is_none() && now.saturating_sub(known.asked) > ASKED_AGAIN_NS {
            *known = ask_fn();
        }
        known.group.as_ref()
    }
}

impl Enricher {
    /// The control group of the header's process.
    pub(super) fn group(
        &mut self,
        header: &Header,
        extension: &Extension<'_>,
        notes: &mut Notes,
    ) -> Setting {
        let id = extension.setting().map_or(0, |setting| setting.cgroup_id);
        if id == 0 {
            // There is no word of groups where there are none.
            if !cfg!(windows) {
                notes.lacks("cgroup", missing::UNAVAILABLE);
            }
            return Setting::default();
        }
        let Some(group) = self.cgroups.get(id, header.process_id, header.time) else {
            notes.lacks("cgroup", missing::GONE);
            return Setting::default();
        };
        Setting {
            cgroup: Some(group.path.clone()),
            container_id: group.container_id.clone(),
            systemd_unit: group.systemd_unit.clone(),
            ..Setting::default()
        }
    }
}

impl Cgroup {
    fn of(path: &[u8]) -> Self {
        // What is no Unicode is no container's and no unit's name.
        let text = str::from_utf8(path).unwrap_or_default();
        Self {
            path: Text::from_bytes(path),
            container_id: container_id(text).map(Arc::from),
            systemd_unit: systemd_unit(text).map(Arc::from),
        }
    }
}

/// The id of the innermost container.
fn container_id(path: &str) -> Option<&str> {
    path.rsplit('/').find_map(|name| {
        let scope = name.strip_suffix(".scope");
        let in_scope = scope.and_then(|scope| {
            let prefixes = CONTAINER_SCOPES.iter();
            prefixes
                .copied()
                .find_map(|prefix| scope.strip_prefix(prefix))
        });
        // Without systemd the directory is called as the container, by Podman with its prefix.
        let id = in_scope.unwrap_or_else(|| name.strip_prefix("libpod-").unwrap_or(name));
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (id.len() == CONTAINER_ID_SIZE && id.bytes().all(is_hex)).then_some(id)
    })
}

/// The unit of the system's manager: the first name that is no slice, where that is one. Below it are
/// those of the users' managers, and what services make themselves.
fn systemd_unit(path: &str) -> Option<&str> {
    let is_slice = |name: &&str| kind_of(name) == Some("slice");
    let names = path.split('/').filter(|name| !name.is_empty());
    let name = names.into_iter().find(|name| !is_slice(name))?;
    // A name that could be taken for one of the kernel's files is written with a `_` before it.
    let name = name.strip_prefix('_').unwrap_or(name);
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let is_unit = UNIT_KINDS.contains(&kind_of(name)?) && name.bytes().all(is_allowed);
    is_unit.then_some(name)
}

/// What a unit is, by the end of its name.
fn kind_of(name: &str) -> Option<&str> {
    let (name, kind) = name.rsplit_once('.')?;
    (!name.is_empty()).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_container_is_known_by_the_names_that_engines_give_their_groups() {
        for path in [
            format!("/system.slice/docker-{ID}.scope"),
            format!("/docker/{ID}"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
            format!("/libpod_parent/libpod-{ID}"),
            format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"),
            format!("/kubepods/burstable/pod-1/{ID}"),
            format!("/kubepods.slice/crio-{ID}.scope/inner"),
        ] {
            assert_eq!(container_id(&path), Some(ID), "{path}");
        }
        for path in [
            "/".to_owned(),
            "/system.slice/ssh.service".to_owned(),
            format!("/machine.slice/crio-conmon-{ID}.scope"),
            format!("/machine.slice/libpod-conmon-{ID}.scope"),
            format!("/docker/{}", &ID[1..]),
            format!("/docker/{ID}0"),
            format!("/docker/{}", ID.to_uppercase()),
        ] {
            assert_eq!(container_id(&path), None, "{path}");
        }
        let inner = ID.replace('0', "f");
        let nested = format!("/docker/{ID}/system.slice/docker-{inner}.scope");
        assert_eq!(container_id(&nested), Some(&*inner));
    }

    #[test]
    fn a_unit_is_the_first_name_that_is_no_slice() {
        for (path, unit) in [
            ("/system.slice/ssh.service", Some("ssh.service")),
            ("/init.scope", Some("init.scope")),
            (
                "/system.slice/system-getty.slice/getty@tty1.service",
                Some("getty@tty1.service"),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/a.service",
                Some("user@1000.service"),
            ),
            (
                "/user.slice/user-0.slice/session-1.scope",
                Some("session-1.scope"),
            ),
            ("/system.slice/_cpu.service", Some("cpu.service")),
            ("/", None),
            ("/system.slice", None),
            ("/docker/a.service", None),
            ("/.service", None),
            ("/system.slice/a b.service", None),
            ("/system.slice/a\u{1b}.service", None),
        ] {
            assert_eq!(systemd_unit(path), unit, "{path}");
        }
    }
}
