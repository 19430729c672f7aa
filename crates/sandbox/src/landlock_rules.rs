//! The second layer on files: Landlock refuses to write anywhere but in the named places, even if
//! a mount were more generous than intended.
//!
//! The rules are plain data and the calls are made directly, because they are made in the child,
//! where a library may not allocate.

use std::ffi::CString;

use crate::sys::{self, Sys};

/// `struct landlock_ruleset_attr`, first published size.
#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

/// Everything that changes a file system, by bit of linux/landlock.h: write a file (1), remove
/// (4, 5), make (6 to 12), move between folders (13, since ABI 2), truncate (14, since ABI 3).
const WRITES: u64 = 1 << 1 | 0x1ff << 4 | 1 << 13;
const TRUNCATE: u64 = 1 << 14;
/// What of that applies to a rule on a single file.
const FILE_WRITES: u64 = 1 << 1 | TRUNCATE;
const RULE_PATH_BENEATH: libc::c_int = 1;
const CREATE_RULESET_VERSION: libc::c_int = 1;

/// Where writing is allowed.
#[derive(Debug, Default)]
pub struct Rules {
    /// Folders (`true`) and single files (`false`), as seen inside.
    pub writable: Vec<(CString, bool)>,
}

/// The Landlock ABI of this kernel; `None` when it has none or it is disabled.
pub fn abi() -> Option<i32> {
    // SAFETY: this form takes no attributes and creates nothing.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<()>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    };
    (version > 0).then_some(version as i32)
}

impl Rules {
    /// Restricts the calling process. Does nothing on kernels without Landlock or with its ABI 1,
    /// which cannot allow renames between folders and so would break builds.
    pub fn enforce(&self) -> Sys {
        let handled = match abi() {
            None | Some(1) => return Ok(()),
            Some(2) => WRITES,
            Some(_) => WRITES | TRUNCATE,
        };
        let attr = RulesetAttr { handled_access_fs: handled };
        // SAFETY: `attr` has the size that is passed.
        let ruleset = unsafe {
            libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size_of::<RulesetAttr>(), 0)
        };
        if ruleset < 0 {
            return Err(sys::errno());
        }
        for (path, folder) in &self.writable {
            let parent_fd = sys::open(path, libc::O_PATH, 0)?;
            let allowed_access = if *folder { handled } else { handled & FILE_WRITES };
            let rule = PathBeneathAttr { allowed_access, parent_fd };
            // SAFETY: `rule` is of the kind that the constant names; both descriptors are open.
            let added = unsafe {
                libc::syscall(libc::SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &raw const rule, 0)
            };
            sys::close(parent_fd);
            if added < 0 {
                return Err(sys::errno());
            }
        }
        // SAFETY: the descriptor is open; no_new_privs is set already.
        if unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) } < 0 {
            return Err(sys::errno());
        }
        sys::close(ruleset as i32);
        Ok(())
    }
}
