//! From a [`SandboxSpec`] to the child's prepared [`Plan`]: checks the request and puts the set-up
//! steps in their one right order (the crate's README explains it).
//!
//! It must never change anything itself, and never leave out what was asked for because the machine lacks it:
//! then the step fails, and with it the start.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cofferdam_types::{Error, Result};

use crate::child::{CArray, Plan};
use crate::landlock_rules::Rules;
use crate::layout::{HOST, Layout, c_path, on_host};
use crate::spec::{Limits, Network, SandboxSpec};
use crate::step::{Step, Steps};
use crate::sys::{ATTR_NODEV, ATTR_NOSUID, ATTR_RDONLY};
use crate::watch::setup::{self, Role};
use crate::wire::Socket;

/// The user and group id of the command, whoever the caller is. Not 0: tools that find themselves
/// root try to give files away (`tar`, older npm), which a namespace of one user cannot do.
pub const INSIDE_ID: u32 = 1000;
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const MAX_DOORS: usize = 64;
const DOOR_BACKLOG: libc::c_int = 256;
/// The smallest `kernel.pid_max` that the kernel accepts.
const SMALLEST_PID_MAX: u64 = 301;
/// Top-level entries that are made afresh instead of shown.
const FRESH: [&str; 6] = ["proc", "dev", "sys", "tmp", "run", "lost+found"];
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
];
/// Parts of proc that act on the whole machine and that real root, even without capabilities, may write.
const PROC_READ_ONLY: [&str; 7] =
    ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi", "/proc/scsi"];
/// Parts of proc that tell about the whole machine's memory or keys.
const PROC_MASKED: [&str; 5] =
    ["/proc/kcore", "/proc/kmsg", "/proc/keys", "/proc/timer_list", "/proc/sched_debug"];
/// Host files with password hashes; readable when the caller is root.
const ALWAYS_HIDDEN: [&str; 4] = ["/etc/shadow", "/etc/gshadow", "/etc/shadow-", "/etc/gshadow-"];

/// Checks `spec` and prepares everything that the child will need.
///
/// # Errors
/// `Invalid` names the part of the request that cannot be.
pub fn prepare(spec: &SandboxSpec) -> Result<Plan> {
    check(spec)?;
    let mut steps = identity();
    steps.extend(new_root()?);
    let layout = file_system(spec)?;
    let landlock = landlock(&layout)?;
    steps.extend(layout.steps);
    steps.extend(kernel_file_systems(spec.limits)?);
    let (last, roles) = finish(spec)?;
    steps.extend(last);
    Ok(Plan {
        steps: Steps(steps),
        roles,
        programs: programs(spec)?,
        arguments: CArray::new(spec.command.iter().map(|s| c_string(s, "argument")).collect::<Result<_>>()?),
        environment: CArray::new(environment(spec)?),
        workdir: c_path(&spec.workdir)?,
        limits: limits(spec.limits),
        landlock,
        filters: crate::seccomp::filters()?,
        stack: crate::sys::Stack::new(),
        own_arguments: own_arguments().unwrap_or_default(),
    })
}

/// Where this process's arguments lie in memory: proc_pid_stat(5), fields 48 and 49.
fn own_arguments() -> Option<(usize, usize)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Field 2 is a name that may hold anything, in parentheses; field 3 follows.
    let mut rest = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().skip(45);
    Some((rest.next()?.parse().ok()?, rest.next()?.parse().ok()?))
}

fn check(spec: &SandboxSpec) -> Result<()> {
    if spec.command.first().is_none_or(|program| program.is_empty()) {
        return Err(Error::invalid("sandbox-command", "there is no command to run"));
    }
    if !spec.workdir.is_absolute() {
        return Err(Error::invalid(
            "sandbox-workdir",
            format!("the working folder {} is not an absolute path", spec.workdir.display()),
        ));
    }
    if spec.hostname.is_empty() || spec.hostname.len() > 64 {
        return Err(Error::invalid("sandbox-hostname", "a host name has 1 to 64 bytes"));
    }
    let doors = spec.network.doors();
    if doors.len() > MAX_DOORS {
        return Err(Error::invalid("sandbox-doors", format!("more than {MAX_DOORS} doors")));
    }
    for door in doors {
        if !door.listen.ip().is_loopback() || door.listen.port() == 0 {
            return Err(Error::invalid(
                "sandbox-doors",
                format!("{} is not a loopback address with a port", door.listen),
            ));
        }
    }
    Ok(())
}

fn identity() -> Vec<Step> {
    // SAFETY: these calls have no preconditions.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let write = |path: &std::ffi::CStr, text: String| Step::Write {
        path: path.into(),
        text: text.into_bytes(),
        optional: false,
    };
    vec![
        write(c"/proc/self/setgroups", "deny".into()),
        write(c"/proc/self/gid_map", format!("{INSIDE_ID} {gid} 1")),
        write(c"/proc/self/uid_map", format!("{INSIDE_ID} {uid} 1")),
        Step::Private,
    ]
}

/// A tmpfs becomes the root, with the host's root below it. `/tmp` only lends its mount point: after
/// the pivot the host's own `/tmp` is visible again under the host's root.
fn new_root() -> Result<Vec<Step>> {
    let host = Path::new("/tmp").join(HOST.trim_start_matches('/'));
    Ok(vec![
        tmpfs("/tmp", "mode=755")?,
        Step::Folder { path: c_path(&host)?, mode: 0o700 },
        Step::Pivot { new: c"/tmp".into(), old: c_path(&host)? },
    ])
}

fn file_system(spec: &SandboxSpec) -> Result<Layout> {
    let mut layout = Layout::new();
    let entries = std::fs::read_dir("/").map_err(|error| Error::io("listing /", error))?;
    for entry in entries {
        let entry = entry.map_err(|error| Error::io("listing /", error))?;
        if !FRESH.iter().any(|fresh| entry.file_name() == *fresh) {
            layout.host_entry(&entry.path(), &entry.path())?;
        }
    }
    devices(&mut layout)?;
    for (path, mode) in [("/tmp", 0o1777), ("/run", 0o755), ("/var/tmp", 0o1777), ("/run/lock", 0o1777)] {
        layout.fresh(Path::new(path), mode)?;
    }
    for path in ALWAYS_HIDDEN.iter().map(Path::new).chain(spec.hide.iter().map(PathBuf::as_path)) {
        layout.hide(path)?;
    }
    private_files(&mut layout, spec)?;
    for mount in &spec.mounts {
        layout.ask(&mount.source, &mount.target, mount.writable)?;
    }
    Ok(layout)
}

fn devices(layout: &mut Layout) -> Result<()> {
    layout.fresh(Path::new("/dev"), 0o755)?;
    for name in DEVICES {
        let device = Path::new("/dev").join(name);
        layout.steps.push(Step::File { path: c_path(&device)?, text: Vec::new() });
        layout.steps.push(Step::Bind {
            source: c_path(&on_host(&device))?,
            target: c_path(&device)?,
            attributes: ATTR_NOSUID,
            optional: false,
        });
    }
    for (points_to, path) in DEVICE_LINKS {
        layout
            .steps
            .push(Step::Link { path: c_path(Path::new(path))?, points_to: c_path(Path::new(points_to))? });
    }
    layout.fresh(Path::new("/dev/shm"), 0o1777)?;
    layout.steps.push(Step::Folder { path: c"/dev/pts".into(), mode: 0o755 });
    layout.steps.push(Step::Mount {
        kind: c"devpts".into(),
        target: c"/dev/pts".into(),
        flags: libc::MS_NOSUID | libc::MS_NOEXEC,
        data: c"newinstance,ptmxmode=0666,mode=620".into(),
        optional: false,
    });
    Ok(())
}

/// The few files that must not be the host's: who exists, and which names resolve.
fn private_files(layout: &mut Layout, spec: &SandboxSpec) -> Result<()> {
    let (id, hostname) = (INSIDE_ID, &spec.hostname);
    let resolver = match spec.network {
        Network::Watched { .. } => "nameserver 127.0.0.1\n",
        _ => "",
    };
    let files = [
        ("/etc/resolv.conf", resolver.to_owned()),
        ("/etc/hosts", format!("127.0.0.1 localhost {hostname}\n::1 localhost ip6-localhost ip6-loopback\n")),
        ("/etc/hostname", format!("{hostname}\n")),
        (
            "/etc/passwd",
            format!(
                "root:x:0:0:root:/:/bin/sh\nbuild:x:{id}:{id}:build:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
            ),
        ),
        ("/etc/group", format!("root:x:0:\nbuild:x:{id}:\nnogroup:x:65534:\n")),
    ];
    for (path, text) in files {
        let staged = PathBuf::from(path.replace('/', ".private-")).to_string_lossy().into_owned();
        let staged = Path::new("/").join(staged);
        layout.steps.push(Step::File { path: c_path(&staged)?, text: text.clone().into_bytes() });
        layout.replace(Path::new(path), &staged, text.as_bytes())?;
        layout.steps.push(Step::Unlink { path: c_path(&staged)? });
    }
    Ok(())
}

fn kernel_file_systems(limits: Limits) -> Result<Vec<Step>> {
    let mount = |kind: &std::ffi::CStr, target: &std::ffi::CStr, read_only: u64, optional| Step::Mount {
        kind: kind.into(),
        target: target.into(),
        flags: libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | read_only,
        data: c"".into(),
        optional,
    };
    let mut steps = vec![
        Step::Folder { path: c"/proc".into(), mode: 0o555 },
        mount(c"proc", c"/proc", 0, false),
        Step::Folder { path: c"/sys".into(), mode: 0o555 },
        // Refused where the caller's own sysfs is partly covered; an empty folder is good enough.
        mount(c"sysfs", c"/sys", libc::MS_RDONLY, true),
    ];
    if let Some(most) = limits.max_processes {
        // Per process namespace since Linux 6.14. On older kernels the file is the machine's own,
        // and the namespace's owner may not write it, unless it is real root: see `pid_max_is_private`.
        if pid_max_is_private() {
            steps.push(Step::Write {
                path: c"/proc/sys/kernel/pid_max".into(),
                text: most.saturating_add(2).clamp(SMALLEST_PID_MAX, 4_000_000).to_string().into_bytes(),
                optional: true,
            });
        }
    }
    for path in PROC_READ_ONLY.iter().map(Path::new).filter(|path| path.exists()) {
        steps.push(Step::Bind {
            source: c_path(path)?,
            target: c_path(path)?,
            attributes: ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV,
            optional: false,
        });
    }
    for path in PROC_MASKED.iter().map(Path::new).filter(|path| path.exists()) {
        steps.push(Step::Bind {
            source: c"/dev/null".into(),
            target: c_path(path)?,
            attributes: ATTR_RDONLY | ATTR_NOSUID,
            optional: false,
        });
    }
    Ok(steps)
}

/// Whether `kernel.pid_max` belongs to the process namespace (Linux 6.14 and later).
fn pid_max_is_private() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.trim().parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(14))
}

/// The last steps, and what the sockets are for that they hand out after those of the doors.
fn finish(spec: &SandboxSpec) -> Result<(Vec<Step>, Vec<Role>)> {
    let mut steps = vec![
        Step::Hostname { name: spec.hostname.clone().into_bytes() },
        Step::Detach { target: c_path(Path::new(HOST))? },
        Step::Restrict { target: c"/".into(), attributes: ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV },
        Step::Loopback,
    ];
    let doors = spec.network.doors();
    steps.extend(doors.iter().map(|door| Step::Socket {
        socket: Socket::listener(door.listen, DOOR_BACKLOG),
        text: format!("listening at {}", door.listen),
    }));
    let mut roles = Vec::new();
    if let Network::Watched { .. } = &spec.network {
        let taken: Vec<u16> = doors.iter().map(|door| door.listen.port()).collect();
        let (watching, handed_out) = setup::steps(&taken);
        steps.extend(watching);
        roles = handed_out;
    }
    Ok((steps, roles))
}

fn landlock(layout: &Layout) -> Result<Rules> {
    let mut writable = vec![(c"/proc".into(), true)];
    for (path, folder) in layout.writable() {
        writable.push((c_path(path)?, folder));
    }
    Ok(Rules { writable })
}

fn limits(limits: Limits) -> Vec<(u32, u64)> {
    let mut all = vec![(libc::RLIMIT_CORE, 0)];
    // The namespace's own init counts as one.
    all.extend(limits.max_processes.map(|most| (libc::RLIMIT_NPROC, most.saturating_add(1))));
    all.extend(limits.max_memory.map(|most| (libc::RLIMIT_DATA, most)));
    all.extend(limits.max_file_size.map(|most| (libc::RLIMIT_FSIZE, most)));
    all
}

fn programs(spec: &SandboxSpec) -> Result<Vec<CString>> {
    let program = &spec.command[0];
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![c_path(Path::new(program))?]);
    }
    let path = spec.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    std::env::split_paths(path.unwrap_or(OsStr::new(DEFAULT_PATH)))
        .filter(|folder| folder.is_absolute())
        .map(|folder| c_path(&folder.join(program)))
        .collect()
}

fn environment(spec: &SandboxSpec) -> Result<Vec<CString>> {
    let entry = |(name, value): &(OsString, OsString)| {
        if name.is_empty() || name.as_bytes().contains(&b'=') {
            return Err(Error::invalid("sandbox-env", format!("{} cannot name a variable", name.display())));
        }
        let mut text = name.clone();
        text.push("=");
        text.push(value);
        c_string(&text, "variable")
    };
    spec.env.iter().map(entry).collect()
}

fn c_string(text: &OsStr, what: &str) -> Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| {
        Error::invalid(
            "sandbox-command",
            format!("the {what} starting {:.40} holds a NUL byte", text.display()),
        )
    })
}

fn tmpfs(target: &str, data: &str) -> Result<Step> {
    Ok(Step::Mount {
        kind: c"tmpfs".into(),
        target: c_path(Path::new(target))?,
        flags: libc::MS_NOSUID | libc::MS_NODEV,
        data: CString::new(data).unwrap_or_default(),
        optional: false,
    })
}
