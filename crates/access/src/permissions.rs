//! The table roles × actions, and the answer to "why".

use std::{fmt, str::FromStr};

use cofferdam_types::{Error, ErrorKind, Result};

use crate::Principal;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* } $all:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        /// Every one, in order.
        pub const $all: &[$name] = &[$($name::$variant,)*];

        impl $name {
            /// The word for it, as in the command line, the audit log and error texts.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What a person is at this site. A person may have several.
    Role {
        /// Manages people, repositories and settings. May not approve what they asked for, as nobody may.
        Admin = "admin",
        /// Pushes code, publishes packages, runs pipelines.
        Developer = "developer",
        /// Records, packs, receives and asks for publication of transfers.
        Officer = "officer",
        /// Looks at transfers and says yes or no.
        Approver = "approver",
        /// Reads everything, changes nothing.
        Auditor = "auditor",
    }
    ROLES
}

words! {
    /// What somebody wants to do.
    Action {
        /// Read packages of a repository.
        PackageRead = "package.read",
        /// Publish, yank or tag packages in a hosted repository.
        PackagePublish = "package.publish",
        /// Create and change repositories.
        RepositoryManage = "repository.manage",
        /// Clone and read a project.
        ProjectRead = "project.read",
        /// Push to a project.
        ProjectWrite = "project.write",
        /// Create projects.
        ProjectCreate = "project.create",
        /// Cancel, retry or play jobs.
        PipelineRun = "pipeline.run",
        /// Start and end recordings.
        Record = "recording.run",
        /// See transfers.
        TransferRead = "transfer.read",
        /// Pack a transfer.
        TransferPack = "transfer.pack",
        /// Receive a transfer and ask for its publication.
        TransferReceive = "transfer.receive",
        /// Vote on a transfer.
        TransferApprove = "transfer.approve",
        /// Switch an approved transfer to visible.
        TransferPublish = "transfer.publish",
        /// Read and export the audit log.
        AuditRead = "audit.read",
        /// Create people, give roles.
        PersonManage = "person.manage",
        /// Register and remove runners.
        RunnerManage = "runner.manage",
    }
    ACTIONS
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        ROLES.iter().copied().find(|r| r.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = ROLES.iter().map(|r| r.as_str()).collect();
            Error::invalid("unknown-role", format!("there is no role `{text}`"))
                .hint(format!("roles are {}", known.join(", ")))
        })
    }
}

/// The roles that an action needs: any one of them is enough.
const fn needed(action: Action) -> &'static [Role] {
    use Role::{Admin, Approver, Auditor, Developer, Officer};
    match action {
        Action::PackageRead | Action::ProjectRead | Action::TransferRead => {
            &[Admin, Developer, Officer, Approver, Auditor]
        }
        Action::PackagePublish | Action::ProjectWrite | Action::PipelineRun => &[Developer],
        Action::ProjectCreate => &[Admin, Developer],
        Action::RepositoryManage | Action::PersonManage | Action::RunnerManage => &[Admin],
        Action::Record | Action::TransferPack | Action::TransferReceive => &[Officer],
        Action::TransferApprove => &[Approver],
        Action::TransferPublish => &[Officer, Approver],
        Action::AuditRead => &[Admin, Auditor],
    }
}

/// Decides once, before the handler. `Ok` or the error that the caller is shown.
///
/// # Errors
/// `Unauthenticated` for nobody known, `Forbidden` naming the action and the roles that have it.
pub fn allowed(principal: &Principal, action: Action, anonymous_read: bool) -> Result<()> {
    match principal {
        Principal::Person { roles, .. } if roles.iter().any(|r| needed(action).contains(r)) => Ok(()),
        Principal::Person { name, .. } => {
            let roles: Vec<_> = needed(action).iter().map(|r| r.as_str()).collect();
            Err(Error::forbidden("forbidden", format!("{name} may not do this ({action})"))
                .hint(format!("it needs the role {}; an administrator can give it", roles.join(" or "))))
        }
        Principal::Job(_) if matches!(action, Action::PackageRead | Action::ProjectRead) => Ok(()),
        Principal::Recording(..) if action == Action::PackageRead => Ok(()),
        Principal::Anonymous if action == Action::PackageRead && anonymous_read => Ok(()),
        Principal::Anonymous => Err(Error::new(
            ErrorKind::Unauthenticated,
            "unauthenticated",
            format!("this needs a login or a token ({action})"),
        )
        .hint("log in, or send a token: `cofferdam token create`")),
        Principal::Job(_) | Principal::Runner(_) | Principal::Recording(..) => {
            Err(Error::forbidden("forbidden", format!("{} may not do this ({action})", principal.actor())))
        }
    }
}

/// The whole table as text, for `explain` and the manual.
#[must_use]
pub fn explain() -> String {
    let mut out = String::from("action | roles\n---|---\n");
    for action in ACTIONS {
        let roles: Vec<_> = needed(*action).iter().map(|r| r.as_str()).collect();
        out.push_str(&format!("{action} | {}\n", roles.join(", ")));
    }
    out
}

#[cfg(test)]
mod tests {
    use cofferdam_types::{JobId, PersonId};

    use super::*;

    fn person(role: Role) -> Principal {
        Principal::Person { id: PersonId(1), name: "alice".into(), roles: vec![role] }
    }

    #[test]
    fn an_auditor_changes_nothing() {
        let reads = [Action::PackageRead, Action::ProjectRead, Action::TransferRead, Action::AuditRead];
        for action in ACTIONS {
            let may = allowed(&person(Role::Auditor), *action, false).is_ok();
            assert_eq!(may, reads.contains(action), "{action}");
        }
    }

    #[test]
    fn an_administrator_alone_cannot_bring_anything_in() {
        for action in [Action::TransferReceive, Action::TransferApprove, Action::TransferPublish] {
            assert_eq!(allowed(&person(Role::Admin), action, true).unwrap_err().kind(), ErrorKind::Forbidden);
        }
    }

    #[test]
    fn machines_read_and_nothing_else() {
        for action in ACTIONS {
            let job = allowed(&Principal::Job(JobId(1)), *action, true).is_ok();
            assert_eq!(job, matches!(action, Action::PackageRead | Action::ProjectRead), "{action}");
            let nobody = allowed(&Principal::Anonymous, *action, true).is_ok();
            assert_eq!(nobody, *action == Action::PackageRead, "{action}");
        }
        assert!(allowed(&Principal::Anonymous, Action::PackageRead, false).is_err());
    }
}
