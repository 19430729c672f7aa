//! Memory as a place for what is thrown away: the folders of a recorded build.
//!
//! A build makes tens of thousands of small files, which nobody keeps; in memory they cost a tenth of what they cost on a
//! slow disk. Must never take so much that other programs go short: who asks is told when to leave.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{StatVfsMountFlags, statvfs};

/// Where Linux has a file system in memory for everybody.
const SHARED: &str = "/dev/shm";
/// `f_type` of such a file system (linux/magic.h).
const TMPFS: u64 = 0x0102_1994;
/// The person's own bound in bytes; 0 keeps builds on disk.
const SETTING: &str = "COFFERDAM_BUILD_MEMORY";
/// Memory that must be there before any of it is taken: 6 GiB.
const ENOUGH: u64 = 6 << 30;
/// Memory that always stays for others: 2 GiB.
const OTHERS: u64 = 2 << 30;
/// A folder of which a copy would take more than this part of the bound stays on disk.
const FOLDER: u64 = 4;
/// Between two looks at what is left.
const LOOKS: Duration = Duration::from_millis(250);

/// How much memory a build's files may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    folder: PathBuf,
    /// Bytes that may be taken of the file system.
    most: u64,
    /// Bytes of it that were taken by others before.
    before: u64,
    /// Bytes of the machine's memory that stay.
    others: u64,
}

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Supply {
    /// Bytes of memory that can be had without swapping.
    available: u64,
    /// Bytes taken of the file system.
    used: u64,
    /// Bytes free in it.
    free: u64,
}

impl Room {
    /// Room for a copy of these files and what a build adds to them; none where memory is short or the person wants none:
    /// by `COFFERDAM_BUILD_MEMORY=0`, or a `TMPDIR` of their own.
    pub fn for_files(files: impl Iterator<Item = PathBuf>) -> Option<Self> {
        let folder = Path::new(SHARED);
        let setting = std::env::var(SETTING).ok().map(|text| text.trim().parse::<u64>().unwrap_or(0));
        if setting.is_none() && std::env::var_os("TMPDIR").is_some_and(|dir| !dir.is_empty()) {
            return None;
        }
        let supply = supply(folder)?;
        let most = bound(supply, setting)?;
        let size: u64 = files.filter_map(|f| f.symlink_metadata().ok()).map(|m| m.len()).sum();
        let others = if setting.is_some() { 0 } else { OTHERS };
        (size <= most / FOLDER).then(|| Self { folder: folder.into(), most, before: supply.used, others })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends when it is used up. The kernel tells nobody, so it is looked at.
    pub async fn exhausted(&self) {
        let mut looks = tokio::time::interval(LOOKS);
        loop {
            looks.tick().await;
            if supply(&self.folder).is_none_or(|now| self.is_short(now)) {
                return;
            }
        }
    }

    fn is_short(&self, now: Supply) -> bool {
        now.used.saturating_sub(self.before) > self.most || now.available < self.others
    }
}

/// How much may be taken of what there is.
fn bound(supply: Supply, setting: Option<u64>) -> Option<u64> {
    let wanted = match setting {
        Some(most) => most,
        None if supply.available < ENOUGH => 0,
        None => supply.available / 2,
    };
    Some(wanted.min(supply.free / 2)).filter(|most| *most > 0)
}

/// What there is now; none where that cannot be told, nothing can be run from there, or it is no memory.
fn supply(folder: &Path) -> Option<Supply> {
    let kind = rustix::fs::statfs(folder).ok()?.f_type;
    let system = statvfs(folder).ok()?;
    let closed = StatVfsMountFlags::NOEXEC | StatVfsMountFlags::RDONLY;
    if u64::try_from(kind).ok()? != TMPFS || system.f_flag.intersects(closed) {
        return None;
    }
    let available = available(&std::fs::read_to_string("/proc/meminfo").ok()?)?;
    let used = system.f_blocks.saturating_sub(system.f_bfree).saturating_mul(system.f_frsize);
    Some(Supply { available, used, free: system.f_bavail.saturating_mul(system.f_frsize) })
}

/// `MemAvailable` of /proc/meminfo (proc_meminfo(5)), in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn half_of_plenty_is_taken_and_nothing_of_little() {
        let supply = |available, free| Supply { available: available * GIB, used: 0, free: free * GIB };
        assert_eq!(bound(supply(20, 24), None), Some(10 * GIB));
        assert_eq!(bound(supply(20, 4), None), Some(2 * GIB), "the file system has its own bound");
        assert_eq!(bound(supply(5, 24), None), None);
        assert_eq!(bound(supply(20, 24), Some(0)), None, "the person wants none");
        assert_eq!(bound(supply(3, 24), Some(GIB)), Some(GIB), "the person wants some");
        assert_eq!(bound(supply(20, 0), None), None);
    }

    #[test]
    fn a_build_leaves_when_it_took_too_much_or_others_go_short() {
        let room = Room { folder: SHARED.into(), most: 4 * GIB, before: GIB, others: OTHERS };
        let now = |available, used| Supply { available: available * GIB, used: used * GIB, free: GIB };
        assert!(!room.is_short(now(10, 5)), "what others took before is not its own");
        assert!(room.is_short(now(10, 6)));
        assert!(room.is_short(now(1, 2)));
    }

    #[test]
    fn what_is_available_is_read_as_the_kernel_writes_it() {
        assert_eq!(available("MemTotal:  9 kB\nMemAvailable:   24000000 kB\n"), Some(24_000_000 * 1024));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
    }
}
