//! What this machine allows, found out by trying it in a child that is thrown away.
//!
//! Answers `doctor`. Changes nothing that outlives the call.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::landlock_rules;
use crate::seccomp;
use crate::step::Step;
use crate::sys::{self, Errno, Sys};
use crate::watch::setup;
use crate::wire;

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What, e.g. `user namespaces`.
    pub name: &'static str,
    /// Whether it works.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to change when it does not work.
    pub remedy: Option<String>,
    /// Whether sandboxes cannot start without it.
    pub required: bool,
}

const OTHERS: [(&str, libc::c_int); 4] = [
    ("mount namespaces", libc::CLONE_NEWNS),
    ("process namespaces", libc::CLONE_NEWPID),
    ("network namespaces", libc::CLONE_NEWNET),
    ("ipc, host name and cgroup namespaces", libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP),
];

/// Tries every part of the isolation. Blocks for some milliseconds; call it outside the runtime's threads.
#[must_use]
pub fn probe() -> Vec<Check> {
    let user = attempt(libc::CLONE_NEWUSER, || Ok(()));
    let mut checks = vec![check("user namespaces", user, true, user_namespace_remedy), namespaces_allowed()];
    for (name, flags) in OTHERS {
        let result = attempt(libc::CLONE_NEWUSER | flags, || Ok(()));
        checks.push(check(name, result, true, |_| {
            "use a kernel that has them compiled in (any distribution's)".into()
        }));
    }
    checks.push(proc_mount());
    checks.push(recursive_read_only());
    checks.push(system_call_filter());
    checks.push(watched_network());
    checks.push(landlock());
    checks.push(cgroups());
    checks
}

fn check(name: &'static str, result: Sys, required: bool, remedy: impl FnOnce(Errno) -> String) -> Check {
    match result {
        Ok(()) => Check { name, ok: true, detail: "works".into(), remedy: None, required },
        Err(errno) => Check {
            name,
            ok: false,
            detail: std::io::Error::from_raw_os_error(errno).to_string(),
            remedy: Some(remedy(errno)),
            required,
        },
    }
}

/// Runs `inside` in a child with new namespaces and an identity there; its error is the child's.
fn attempt(flags: libc::c_int, inside: impl Fn() -> Sys) -> Sys {
    let mut pidfd = -1;
    // SAFETY: these calls have no preconditions.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let (uids, gids) = (format!("0 {uid} 1"), format!("0 {gid} 1"));
    // SAFETY: the child only makes system calls through `sys` and leaves by `_exit`.
    let pid = unsafe { sys::clone_into(libc::CLONE_PIDFD | flags, &mut pidfd) }?;
    if pid == 0 {
        let done = write(c"/proc/self/setgroups", b"deny")
            .and_then(|()| write(c"/proc/self/gid_map", gids.as_bytes()))
            .and_then(|()| write(c"/proc/self/uid_map", uids.as_bytes()))
            .and_then(|()| inside());
        sys::exit(done.err().unwrap_or(0));
    }
    let mut status = 0;
    // SAFETY: `status` is live; the pid is our child's.
    while unsafe { libc::waitpid(pid, &raw mut status, 0) } < 0 && sys::errno() == libc::EINTR {}
    sys::close(pidfd);
    match libc::WEXITSTATUS(status) {
        0 if libc::WIFEXITED(status) => Ok(()),
        0 => Err(libc::EIO),
        errno => Err(errno),
    }
}

fn write(path: &std::ffi::CStr, text: &[u8]) -> Sys {
    let file = sys::open(path, libc::O_WRONLY, 0)?;
    let done = sys::write(file, text);
    sys::close(file);
    done
}

fn setting(path: &str) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn user_namespace_remedy(_: Errno) -> String {
    if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        return "AppArmor forbids them to unknown programs: install a profile with `userns,` for this binary, or run \
                `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"
            .into();
    }
    if setting("/proc/sys/kernel/unprivileged_userns_clone") == Some(0) {
        return "run `sysctl -w kernel.unprivileged_userns_clone=1`".into();
    }
    if setting("/proc/sys/user/max_user_namespaces") == Some(0) {
        return "run `sysctl -w user.max_user_namespaces=15000`".into();
    }
    "something around this process forbids them, usually a container's system call filter: run it outside, or with a \
     filter that allows clone with CLONE_NEWUSER"
        .into()
}

fn namespaces_allowed() -> Check {
    let most = setting("/proc/sys/user/max_user_namespaces");
    let ok = most.is_none_or(|most| most >= 64);
    Check {
        name: "number of user namespaces",
        ok,
        detail: most.map_or("no limit is shown".into(), |most| format!("at most {most}")),
        remedy: (!ok).then(|| "run `sysctl -w user.max_user_namespaces=15000`".into()),
        required: false,
    }
}

const FILE_SYSTEMS: libc::c_int = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID;

fn proc_mount() -> Check {
    let result = attempt(FILE_SYSTEMS, || {
        sys::mount(c"none", c"/", c"none", libc::MS_REC | libc::MS_PRIVATE, c"")?;
        sys::mount(c"proc", c"/proc", c"proc", libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC, c"")
    });
    check("private /proc", result, true, |_| {
        "the /proc of this process is partly masked, as in a container: start that with an unmasked /proc \
         (`--security-opt systempaths=unconfined`)"
            .into()
    })
}

fn recursive_read_only() -> Check {
    let result = attempt(FILE_SYSTEMS, || {
        sys::mount(c"none", c"/", c"none", libc::MS_REC | libc::MS_PRIVATE, c"")?;
        sys::mount(c"tmpfs", c"/tmp", c"tmpfs", 0, c"")?;
        sys::mkdir(c"/tmp/etc", 0o755)?;
        sys::bind(c"/etc", c"/tmp/etc", sys::ATTR_RDONLY | sys::ATTR_NOSUID | sys::ATTR_NODEV)
    });
    check("read-only view of the host", result, true, |_| {
        "mount_setattr is needed: Linux 5.12 or newer".into()
    })
}

fn system_call_filter() -> Check {
    let result = match seccomp::filters() {
        Err(_) => Err(libc::ENOSYS),
        Ok(filters) => attempt(libc::CLONE_NEWUSER, || {
            sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1)?;
            filters.iter().try_for_each(seccomp::Filter::install)?;
            match sys::unmount(c"/nowhere") {
                Err(libc::EPERM) => Ok(()),
                _ => Err(libc::EIO),
            }
        }),
    };
    check("system call filter", result, true, |_| "use a kernel with CONFIG_SECCOMP_FILTER".into())
}

/// The steps of [`crate::Network::Watched`], without handing out the sockets.
fn watched_network() -> Check {
    let (steps, _) = setup::steps(&[]);
    let first = |count: usize| {
        attempt(libc::CLONE_NEWUSER | libc::CLONE_NEWNET, || {
            sys::loopback_up()?;
            steps.iter().take(count).try_for_each(|step| match step {
                Step::Socket { socket, .. } => wire::try_socket(socket),
                other => other.run(-1),
            })
        })
    };
    let mut found = check("watched network", first(steps.len()), false, |errno| {
        match errno {
            libc::EPERM | libc::EACCES => {
                "something around this process forbids netlink or packet sockets, usually a container's system call \
                 filter; without it jobs still run, but what they try to reach is refused unseen"
            }
            _ => {
                "use a kernel with nf_tables and its TPROXY expression (CONFIG_NF_TABLES_INET, CONFIG_NFT_TPROXY, \
                 CONFIG_PACKET), or load them: `modprobe -a nf_tables nft_tproxy af_packet`"
            }
        }
        .into()
    });
    if !found.ok {
        let failing = (1..=steps.len()).find(|count| first(*count).is_err());
        let what = failing.and_then(|count| steps.get(count - 1)).map(ToString::to_string);
        found.detail = format!("{}: {}", what.unwrap_or_default(), found.detail);
    }
    found
}

fn landlock() -> Check {
    let abi = landlock_rules::abi();
    let ok = abi.is_some_and(|abi| abi >= 2);
    Check {
        name: "landlock",
        ok,
        detail: abi.map_or("not there".into(), |abi| format!("ABI {abi}")),
        remedy: (!ok).then(|| {
            "optional second layer: Linux 5.19 or newer with `landlock` in the boot parameter `lsm=`".into()
        }),
        required: false,
    }
}

/// Whether a cgroup v2 below our own can be made, with the controllers that would matter.
fn cgroups() -> Check {
    let (ok, detail) = match own_cgroup() {
        None => (false, "no cgroup v2 tree".to_owned()),
        Some(folder) => {
            let controllers = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
            let trial = folder.join(format!("cofferdam-probe-{}", std::process::id()));
            let made = fs::create_dir(&trial).and_then(|()| fs::remove_dir(&trial)).is_ok();
            let useful = ["memory", "pids"]
                .iter()
                .all(|want| controllers.split_whitespace().any(|have| have == *want));
            (made && useful, format!("controllers: {}; delegated: {}", controllers.trim(), yes(made)))
        }
    };
    Check {
        name: "cgroup v2 delegation",
        ok,
        detail,
        remedy: (!ok).then(|| {
            "optional: limits then hold per process, not per job; run the service with systemd's `Delegate=yes`".into()
        }),
        required: false,
    }
}

fn yes(answer: bool) -> &'static str {
    if answer { "yes" } else { "no" }
}

fn own_cgroup() -> Option<std::path::PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .iter()
        .map(|root| Path::new(root).join(path.trim_start_matches('/')))
        .find(|folder| folder.join("cgroup.controllers").exists())
}
