//! Which system calls a command may not make.
//!
//! A list of denials, not of permissions: arbitrary build tools run here, and an allow-list would
//! break some of them at every kernel release. Denied is what reaches beyond the namespaces
//! (kernel modules, keys, BPF, io_uring, which makes sockets behind this filter's back, vsock,
//! which no network namespace holds) or undoes them (mounts, further namespaces).

use std::collections::BTreeMap;
use std::sync::OnceLock;

use cofferdam_types::{Error, Result};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

use crate::sys::{self, Sys};

/// One compiled program.
#[derive(Clone)]
pub struct Filter(&'static [sock_filter]);

/// `struct sock_fprog`.
#[repr(C)]
pub struct Program {
    pub length: libc::c_ushort,
    pub filter: *const sock_filter,
}

impl Filter {
    /// Installs the program for the calling process; needs no_new_privs. Allocates nothing.
    pub fn install(&self) -> Sys {
        let program = Program { length: self.0.len() as libc::c_ushort, filter: self.0.as_ptr() };
        // SAFETY: the program lives as long as the process.
        let done =
            unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
        if done < 0 { Err(sys::errno()) } else { Ok(()) }
    }
}

/// Answered with EPERM.
const FORBIDDEN: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// Answered with ENOSYS, on which programs fall back: `clone3` to `clone`, whose flags a filter can
/// read, and io_uring to plain input and output.
const ABSENT: &[libc::c_long] =
    &[libc::SYS_clone3, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];

/// The flags of `clone` that make namespaces.
const NAMESPACE_FLAGS: [libc::c_int; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// The filters in the order of their installation, compiled once per process.
///
/// # Errors
/// `Unavailable` on a processor that seccompiler does not know.
pub fn filters() -> Result<Vec<Filter>> {
    static COMPILED: OnceLock<Vec<BpfProgram>> = OnceLock::new();
    let programs = match COMPILED.get() {
        Some(programs) => programs,
        None => {
            let programs = compile().map_err(|error| {
                Error::new(
                    cofferdam_types::ErrorKind::Unavailable,
                    "sandbox-filter",
                    "the system call filter cannot be made for this processor",
                )
                .with_source(error)
            })?;
            COMPILED.get_or_init(|| programs)
        }
    };
    Ok(programs.iter().map(|program| Filter(program)).collect())
}

type Built<T> = std::result::Result<T, seccompiler::BackendError>;

fn compile() -> Built<Vec<BpfProgram>> {
    let absent = ABSENT.iter().map(|call| (*call, Vec::new())).collect();
    let sockets = BTreeMap::from([(libc::SYS_socket, vec![other_socket_families()?])]);
    let mut forbidden: BTreeMap<_, _> = FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    forbidden.insert(
        libc::SYS_clone,
        NAMESPACE_FLAGS.iter().map(|flag| masked(0, *flag as u64)).collect::<Built<_>>()?,
    );
    // Typing into the caller's terminal.
    forbidden.insert(
        libc::SYS_ioctl,
        [libc::TIOCSTI, libc::TIOCLINUX]
            .into_iter()
            .map(|request| rule(1, SeccompCmpOp::Eq, request))
            .collect::<Built<_>>()?,
    );
    let mut programs = vec![
        program(absent, libc::ENOSYS)?,
        program(sockets, libc::EAFNOSUPPORT)?,
        program(forbidden, libc::EPERM)?,
    ];
    if cfg!(target_arch = "x86_64") {
        programs.insert(0, without_x32());
    }
    Ok(programs)
}

fn program(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> Built<BpfProgram> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32), arch)?.try_into()
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Built<SeccompRule> {
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?])
}

fn masked(argument: u8, bit: u64) -> Built<SeccompRule> {
    rule(argument, SeccompCmpOp::MaskedEq(bit), bit)
}

/// Anything but local, IPv4, IPv6 and netlink sockets: a vsock would reach the hypervisor.
fn other_socket_families() -> Built<SeccompRule> {
    let known = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let conditions = known
        .into_iter()
        .map(|family| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family as u64))
        .collect::<Built<_>>()?;
    SeccompRule::new(conditions)
}

/// The x32 calls of x86-64 have other numbers, which the lists above would let pass.
fn without_x32() -> BpfProgram {
    const X32: u32 = 0x4000_0000;
    let op = |code: u32, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    vec![
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        op(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}
