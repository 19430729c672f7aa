//! Rootless isolation: namespaces, private file systems and the sealed network.
//!
//! Start at [`Sandbox::spawn`]; `README.md` beside this crate says what protects from what and in
//! which order the set-up happens. No daemon, no helper binary, no privilege.
//!
//! | Module | Does |
//! |---|---|
//! | `spec` | what the caller asks for |
//! | `plan`, `layout` | turn that into prepared steps, in the parent |
//! | `running` | clones, watches, kills; the parent's side |
//! | `child`, `step`, `sys`, `wire` | the child's side: no allocation, no locks |
//! | `seccomp`, `landlock_rules` | the layers around the command |
//! | `door` | the way out of the network namespace that is always open |
//! | `relay` | moves bytes between two sockets |
//! | `watch` | everything else that wants out: noticed, written down, decided upon |
//! | `netlink` | routes and rules inside, for `watch` |
//! | `isolate`, `counters` | the site's own namespace and the proof that nothing left it |
//! | `probe` | what this machine allows, by trying |
//!
//! It must never start anything with less isolation than was asked for: a part that the machine
//! refuses is an error, not a warning.

#[cfg(not(target_os = "linux"))]
compile_error!("the sandbox is made of Linux namespaces");

mod child;
mod counters;
mod door;
mod isolate;
mod landlock_rules;
mod layout;
mod netlink;
mod plan;
mod probe;
mod relay;
mod running;
mod seccomp;
mod spec;
mod step;
mod sys;
mod watch;
mod wire;

pub use counters::{InterfaceCounters, ProcessId, has_route, net_counters};
pub use isolate::isolate_self_from_network;
pub use plan::INSIDE_ID;
pub use probe::{Check, probe};
pub use running::{Exit, Outcome, Running, Sandbox, UNWATCHED};
pub use spec::{Greeting, Limits, Mount, Network, SandboxSpec, SiteDoor, Stdio, Target};
pub use watch::{
    Attempt, Decision, NetworkLog, Noted, Process, RefuseAll, TakeFuture, Transport, Verdict, Watcher,
};
