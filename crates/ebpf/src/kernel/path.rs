//! Paths: the way from a file to the root of everything, and where it ends.

use core::ptr::from_ref;

use event::{Scope, Stamp};

use super::{
    DENTRY_HASH_PPREV, DENTRY_INODE, DENTRY_NAME, DENTRY_PARENT, DENTRY_SB, HOST_MOUNT_NAMESPACE,
    INODE_CTIME_NSEC, INODE_CTIME_SEC, INODE_NUMBER, INODE_SB, INODE_SIZE, KernelText,
    MNT_NAMESPACE_INUM, MOUNT_MNT, MOUNT_MOUNTPOINT, MOUNT_NAMESPACE, MOUNT_PARENT, Pointer,
    SUPER_BLOCK_DEVICE, Shared, VFSMOUNT_ROOT, VFSMOUNT_SB, field, opaque, probe, probe_if,
    probe_into,
};

/// A place in a mount: the kernel's `struct path`, copied.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Path {
    mount: Pointer,
    dentry: Pointer,
}

impl Path {
    /// Whether there is anything.
    #[inline(always)]
    pub(crate) fn is_some(self) -> bool {
        !self.dentry.is_null()
    }

    /// Whether mount and name are of one file system, as in every path and in no other two words.
    #[inline(always)]
    pub(super) fn is_coherent(self) -> bool {
        let (of_mount, of_dentry): (u64, u64) = (
            probe(self.mount, VFSMOUNT_SB),
            probe(self.dentry, DENTRY_SB),
        );
        of_mount == of_dentry && of_mount != 0
    }

    /// Whether the file has no name in any directory any more, or never had.
    #[inline(always)]
    pub(crate) fn is_deleted(self) -> bool {
        let root: Pointer = probe(self.mount, VFSMOUNT_ROOT);
        self.dentry != root && probe::<u64>(self.dentry, DENTRY_HASH_PPREV) == 0
    }

    /// The file there: its device and its inode.
    #[inline(always)]
    pub(crate) fn file(self) -> (u32, u64) {
        let inode: Pointer = probe(self.dentry, DENTRY_INODE);
        let super_block: Pointer = probe(inode, INODE_SB);
        (
            probe(super_block, SUPER_BLOCK_DEVICE),
            probe(inode, INODE_NUMBER),
        )
    }
}

impl Path {
    /// `I_CTIME_QUERIED` (Linux 6.13): somebody has asked for the time. It is no part of it.
    const CTIME_FLAGS: u32 = 1 << 31;
    const SECOND_NS: i64 = 1_000_000_000;

    /// The state of the file there.
    #[inline(always)]
    pub(crate) fn stamp(self) -> Stamp {
        let inode: Pointer = probe(self.dentry, DENTRY_INODE);
        let seconds: i64 = probe(inode, INODE_CTIME_SEC);
        let nanoseconds: u32 = probe(inode, INODE_CTIME_NSEC);
        let nanoseconds = i64::from(nanoseconds & !Self::CTIME_FLAGS);
        Stamp {
            change_time_ns: seconds
                .wrapping_mul(Self::SECOND_NS)
                .wrapping_add(nanoseconds),
            size: probe(inode, INODE_SIZE),
        }
    }
}

/// One step of the way from a file to the root.
pub(crate) struct Step {
    /// The name that was passed.
    pub(crate) name: KernelText,
    /// 1, or 0 where a mount's root was passed instead.
    pub(crate) has_name: u64,
    /// 1, or 0 where the way ends here.
    pub(crate) goes_on: u64,
}

/// A place on the way from a file to the root.
///
/// It is kept in a map's memory so that the verifier forgets it: it would otherwise remember what
/// was found equal and what was read, and tell apart every way through the loop by that.
///
/// A step has no branches: where programs take the steps of a loop themselves the verifier keeps in
/// mind each one, of 8,192 at most, and a path has up to 2,048 components.
#[repr(C)]
pub(crate) struct Way {
    mount: Shared,
    /// The mount's own root.
    root: Shared,
    dentry: Shared,
    /// Not 0 where the last step left a mount.
    has_left: Shared,
    /// The name that the last step passed.
    name: Shared,
    /// Not 0 until the way has been gone to its end.
    is_cut: Shared,
    /// The first words of the structure looked at, which hold all we need of it.
    words: [Shared; 8],
}

impl Way {
    /// What the inode of a mount namespace says that nobody is in (`MNT_NS_ANON_INO`, Linux 6.18);
    /// before, it has none.
    const ANONYMOUS: u32 = 0xefff_fff7;
    /// The last pointers are errors: what no namespace has is in the one that is `-EINVAL`.
    const ERROR_MIN: u64 = 4095_u64.wrapping_neg();

    /// Goes to the begin of a way.
    #[inline(always)]
    pub(crate) fn begin(&self, path: Path) {
        let mount = path.mount.wrapping_sub(MOUNT_MNT.offset());
        self.mount.store(mount as u64);
        self.dentry.store(path.dentry as u64);
        self.is_cut.store(1);
        self.read_root(mount, 1);
    }

    /// Reads the root of a mount, or leaves it where `is_read` is 0.
    #[inline(always)]
    fn read_root(&self, mount: Pointer, is_read: u64) {
        let at = mount.wrapping_add(MOUNT_MNT.offset());
        let at = at.wrapping_add(VFSMOUNT_ROOT.offset());
        probe_if(is_read, at, &self.root);
    }

    /// One step towards the root of everything.
    #[inline(always)]
    pub(crate) fn step(&self) -> Step {
        let (mount, dentry) = (self.mount.load(), self.dentry.load());
        let stays = differ(dentry, self.root.load());
        let leaves = !mask(stays);
        let structure = choose(leaves, mount, dentry);
        let words = self.look_at(structure as Pointer);
        let name: u64 = field(words, DENTRY_NAME);
        let parent = choose(
            leaves,
            field(words, MOUNT_PARENT),
            field(words, DENTRY_PARENT),
        );
        let mount = choose(leaves, parent, mount);
        self.mount.store(mount);
        self.dentry
            .store(choose(leaves, field(words, MOUNT_MOUNTPOINT), parent));
        self.has_left.store(leaves);
        self.name.store(name);
        self.read_root(mount as Pointer, stays ^ 1);
        Step {
            name: KernelText::new(name as Pointer),
            has_name: stays,
            goes_on: differ(parent, structure) & differ(parent, 0),
        }
    }

    /// Says whether the way was left before its end.
    #[inline(always)]
    pub(crate) fn leave(&self, is_cut: u64) {
        self.is_cut.store(is_cut);
    }

    /// Whether there are more steps than were taken.
    #[inline(always)]
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.load() != 0
    }

    /// Where the way has ended: in whose tree, and in which mount namespace, where that is not the
    /// host's.
    #[inline(always)]
    pub(crate) fn end(&self) -> (Scope, u32) {
        let last = KernelText::new(self.name.load() as Pointer);
        if self.has_left.load() == 0 {
            // Not below the root of its mount. What is in no directory has a name of its own there;
            // what was moved out of the mount came to the file system's root, which has this one.
            let scope = if last.begins_with(b'/') {
                Scope::ROOT
            } else {
                Scope::HOST
            };
            return (scope, 0);
        }
        let namespace: u64 = probe(self.mount.load() as Pointer, MOUNT_NAMESPACE);
        if namespace == 0 || namespace >= Self::ERROR_MIN {
            return (Scope::DETACHED, 0);
        }
        let host = HOST_MOUNT_NAMESPACE.value() as u32;
        match probe(namespace as Pointer, MNT_NAMESPACE_INUM) {
            0 | Self::ANONYMOUS => (Scope::DETACHED, 0),
            inode if inode == host || host == 0 => (Scope::HOST, 0),
            inode => (Scope::MOUNT_NAMESPACE, inode),
        }
    }

    #[inline(always)]
    fn look_at(&self, structure: Pointer) -> Pointer {
        probe_into(structure, from_ref(&self.words).cast_mut());
        from_ref(&self.words).cast()
    }
}

/// 1 where the two differ, 0 where they are equal, and no branch.
#[inline(always)]
pub(crate) fn differ(left: u64, right: u64) -> u64 {
    let difference = left ^ right;
    sign((difference | difference.wrapping_neg()).cast_signed())
}

/// 1 where the number is negative, 0 otherwise, and no branch: what the compiler does not see
/// through it makes no comparison of.
#[inline(always)]
pub(crate) fn sign(number: i64) -> u64 {
    opaque(opaque(number as usize) >> 63) as u64
}

/// No bits for 0, all for 1.
#[inline(always)]
pub(crate) fn mask(bit: u64) -> u64 {
    opaque(bit.wrapping_neg() as usize) as u64
}

/// The one where `mask` has all bits, the other where it has none, and no branch.
#[inline(always)]
fn choose(mask: u64, one: u64, other: u64) -> u64 {
    (one & mask) | (other & !mask)
}
