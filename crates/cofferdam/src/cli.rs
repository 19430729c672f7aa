//! The command line. Names and flags are an interface: they change by addition only.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Build, test, sign and ship software on a network with no internet.
#[derive(Debug, Parser)]
#[command(name = "cofferdam", version, propagate_version = true, disable_help_subcommand = true)]
pub struct Cli {
    /// The site's state folder.
    #[arg(long, global = true, env = "COFFERDAM_HOME", value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// The address of the site to talk to.
    #[arg(long, global = true, env = "COFFERDAM_URL", value_name = "URL")]
    pub site: Option<String>,
    /// Your token for that site.
    #[arg(long, global = true, env = "COFFERDAM_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Print data as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Two sites on this machine, and the whole story between them.
    Try(TryArgs),
    /// Create a site's state folder: configuration, keys, database, first administrator.
    Init(InitArgs),
    /// Run a site.
    Serve(ServeArgs),
    /// Say what this machine can do: sandbox, clients, database.
    Doctor,
    /// Show how to set up every package client for a site.
    Env,
    /// Run a command that can reach a site and nothing else, with its package clients set up.
    Inside {
        /// The command.
        #[arg(trailing_var_arg = true, required = true)]
        command: Vec<String>,
    },
    /// Record what a build uses (connected site).
    Record(RecordArgs),
    /// Run a recorded build again with upstream shut (connected site).
    Rehearse {
        /// The recording's name or number.
        name: String,
        /// Keep the copy of the folder in which it ran, here.
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
    },
    /// Show, write, decide about, merge, update or make collections: what builds use.
    Collect(CollectArgs),
    /// Write a transfer onto a medium.
    Pack(PackArgs),
    /// Add a releasing officer's signature to a packed transfer (on the machine that has it).
    Release {
        /// The transfer's folder.
        folder: PathBuf,
        /// The officer's key file; made with `cofferdam key new`.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Show what is in a transfer's header, believing nobody.
    Inspect {
        /// The transfer's folder.
        folder: PathBuf,
    },
    /// Verify a transfer, with nothing but public keys.
    Verify {
        /// The transfer's folder; several when it lies on several media.
        #[arg(required = true)]
        folders: Vec<PathBuf>,
        /// A trusted key, as `cofferdam key show` prints it; may be repeated.
        #[arg(long = "key", value_name = "KEY", required = true)]
        keys: Vec<String>,
        /// How many of the keys must have signed.
        #[arg(long, default_value_t = 1, value_name = "N")]
        threshold: usize,
        /// The name of the site that the transfer must be for.
        #[arg(long = "for", value_name = "SITE")]
        destination: Option<String>,
    },
    /// Receive a transfer into quarantine and ask for its approval (isolated site).
    Receive {
        /// The transfer's folder, as the site's machine sees it; several when it lies on several media.
        #[arg(required = true)]
        folders: Vec<PathBuf>,
        /// Take a transfer that is no longer fresh, for this reason.
        #[arg(long, value_name = "REASON")]
        accept_expired: Option<String>,
        /// Take a full transfer although earlier ones have not arrived, for this reason; those cannot follow.
        #[arg(long, value_name = "REASON")]
        accept_gap: Option<String>,
        /// Mend what is damaged or missing from the transfer's own parity; without it, damage refuses it.
        #[arg(long)]
        repair: bool,
    },
    /// Mend a damaged transfer: from its parity, by a request to the sender, or by an answer to one.
    Repair(RepairArgs),
    /// Receipts: sign what became of a received transfer, or take one that came back.
    Receipt {
        /// What to do.
        #[command(subcommand)]
        action: ReceiptAction,
    },
    /// What is wanted and not here.
    Want {
        /// What to do.
        #[command(subcommand)]
        action: WantAction,
    },
    /// The register of media: serial numbers, who has them, their fate.
    Medium {
        /// What to do.
        #[command(subcommand)]
        action: MediumAction,
    },
    /// Streams from which nothing is taken until people have found out why.
    Stream {
        /// What to do.
        #[command(subcommand)]
        action: StreamAction,
    },
    /// List transfers, or show one.
    Transfers {
        /// The transfer's number.
        id: Option<i64>,
    },
    /// Say yes to a transfer, after looking at it.
    Approve(VoteArgs),
    /// Say no to a transfer.
    Reject(VoteArgs),
    /// Make an approved transfer visible, in one switch.
    Publish {
        /// The transfer's number.
        id: i64,
    },
    /// Repositories of packages.
    Repo {
        /// What to do.
        #[command(subcommand)]
        action: RepoAction,
    },
    /// Git projects.
    Project {
        /// What to do.
        #[command(subcommand)]
        action: ProjectAction,
    },
    /// Pipelines of a project.
    Pipeline {
        /// What to do.
        #[command(subcommand)]
        action: PipelineAction,
    },
    /// Jobs of a pipeline.
    Job {
        /// What to do.
        #[command(subcommand)]
        action: JobAction,
    },
    /// The audit log.
    Audit {
        /// What to do.
        #[command(subcommand)]
        action: AuditAction,
    },
    /// Keys: this site's, and those it believes.
    Key {
        /// What to do.
        #[command(subcommand)]
        action: KeyAction,
    },
    /// People (on the site's own machine).
    User {
        /// What to do.
        #[command(subcommand)]
        action: UserAction,
    },
    /// Tokens (on the site's own machine).
    Token {
        /// What to do.
        #[command(subcommand)]
        action: TokenAction,
    },
    /// The site's configuration.
    Config {
        /// What to do.
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// `try`.
#[derive(Debug, Args)]
pub struct TryArgs {
    /// Run unattended, print one JSON object per step, leave nothing behind.
    #[arg(long)]
    pub check: bool,
    /// Use a small package set that the program makes itself, instead of the real upstreams.
    #[arg(long)]
    pub sample: bool,
    /// Keep the two sites' state in this folder.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The site's name, as transfers carry it.
    #[arg(long)]
    pub name: String,
    /// `connected` or `isolated`.
    #[arg(long)]
    pub role: String,
    /// The address that the site listens on.
    #[arg(long, default_value = "127.0.0.1:8470")]
    pub listen: String,
    /// The first administrator's name.
    #[arg(long, default_value = "admin")]
    pub admin: String,
}

/// `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Put this process into a network namespace of its own with no route, after opening its socket.
    #[arg(long)]
    pub sealed: bool,
    /// Listen on this already open file descriptor instead of the configured address.
    #[arg(long, value_name = "FD")]
    pub listen_fd: Option<i32>,
    /// Stop when standard input ends: the site then never outlives whoever started it.
    #[arg(long)]
    pub until_stdin_closes: bool,
}

/// `record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// What to call the recording.
    #[arg(long)]
    pub name: String,
    /// The folder to build (copied; default: this one).
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Keep the copy of the folder in which it ran, here.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// The build's command.
    #[arg(trailing_var_arg = true, required = true)]
    pub command: Vec<String>,
}

/// `collect`.
#[derive(Debug, Args)]
pub struct CollectArgs {
    /// Recordings by name or number, or collection files; several are merged into one collection.
    #[arg(value_name = "RECORDING")]
    pub of: Vec<String>,
    /// Write the collection into this file, `NAME.collection.toml`: sorted, made to be compared.
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Show only what no lock file names.
    #[arg(long)]
    pub only_running: bool,
    /// Collect without running the build: a folder (all its lock files and its cofferdam.want), a lock file, or a
    /// collection file; may be repeated.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["of", "update"])]
    pub from: Vec<PathBuf>,
    /// What to call the collection.
    #[arg(long = "as", visible_alias = "name", value_name = "NAME")]
    pub name: Option<String>,
    /// With --from: take files for this platform (`linux-x86_64`), or `all`; may be repeated. Default: this machine's.
    #[arg(long, value_name = "PLATFORM", requires = "from")]
    pub platform: Vec<String>,
    /// Take an item out, by its package URL; then rehearse again.
    #[arg(long, value_name = "PURL", requires = "reason", conflicts_with_all = ["pin", "undo"])]
    pub exclude: Option<String>,
    /// Keep an item at its version: an update that would change it says so.
    #[arg(long, value_name = "PURL", requires = "reason", conflicts_with = "undo")]
    pub pin: Option<String>,
    /// Take back what was decided about an item.
    #[arg(long, value_name = "PURL")]
    pub undo: Option<String>,
    /// Why it is taken out or pinned.
    #[arg(long)]
    pub reason: Option<String>,
    /// Record and rehearse again (all of your recordings without a name), and show what changed and what each
    /// destination has not got yet.
    #[arg(long)]
    pub update: bool,
    /// With --update: again and again at this distance, such as 24h (at least 1m), until a signal ends it.
    #[arg(long, value_name = "DURATION", requires = "update", value_parser = crate::commands::schedule::distance)]
    pub every: Option<std::time::Duration>,
    /// Judge the items by advisories in the OSV schema: a file, a folder, an address (fetched and kept by the site), or an
    /// ecosystem (`pypi`) below COFFERDAM_ADVISORIES; may be repeated.
    #[arg(long, value_name = "PATH_OR_URL", conflicts_with = "from")]
    pub advisories: Vec<String>,
}

/// `pack`.
#[derive(Debug, Args)]
pub struct PackArgs {
    /// The site that the transfer is for; may be repeated for one medium to several sites.
    #[arg(long, required = true)]
    pub to: Vec<String>,
    /// A rehearsed recording that travels; may be repeated.
    #[arg(long = "recording", value_name = "NAME")]
    pub recordings: Vec<String>,
    /// A git project that travels, `<group>/<name>`; may be repeated.
    #[arg(long = "project", value_name = "PATH")]
    pub projects: Vec<String>,
    /// Send everything again, even what the receiver has proved to hold.
    #[arg(long)]
    pub full: bool,
    /// Build on what was sent although no receipt came back: for doors that let nothing out.
    #[arg(long)]
    pub assume_received: bool,
    /// `sealed` (encrypted), `inspectable` (flat files), or the file of an inspectable door's profile.
    #[arg(long, default_value = "sealed", value_name = "DOOR")]
    pub door: String,
    /// What it is written on: dvd, dvd-dl, bd25, fat32, or a size such as 700MB; a volume never is larger.
    #[arg(long, value_name = "MEDIUM")]
    pub media: Option<String>,
    /// Parity in per cent of the payload.
    #[arg(long, default_value_t = 5.0, value_name = "PERCENT")]
    pub parity: f64,
    /// How far below whole files deltas go: none, copy, prefix or deflate.
    #[arg(long, default_value = "deflate", value_name = "LEVEL")]
    pub delta: String,
    /// Begin a new epoch of the stream, after a rotation of the root.
    #[arg(long)]
    pub new_epoch: bool,
    /// Only say what would be written.
    #[arg(long)]
    pub dry_run: bool,
    /// The medium: an existing folder.
    pub into: PathBuf,
}

/// `repair`.
#[derive(Debug, Args)]
pub struct RepairArgs {
    /// The transfer's folders; none with --answer.
    pub folders: Vec<PathBuf>,
    /// Mend from parity into this folder, without a site; then receive both folders.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["request", "answer"])]
    pub into: Option<PathBuf>,
    /// The sender's key, with --into; may be repeated.
    #[arg(long = "key", value_name = "KEY")]
    pub keys: Vec<String>,
    /// Write a signed request for what is lost into this file (isolated site).
    #[arg(long, value_name = "FILE", conflicts_with = "answer")]
    pub request: Option<PathBuf>,
    /// Answer the request in this file (connected site).
    #[arg(long, value_name = "FILE", requires = "medium")]
    pub answer: Option<PathBuf>,
    /// Where to write the answer.
    #[arg(long, value_name = "DIR")]
    pub medium: Option<PathBuf>,
    /// The sender's copy of the transfer, when it is no longer where it was packed.
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
}

/// `receipt`.
#[derive(Debug, Subcommand)]
pub enum ReceiptAction {
    /// Sign what became of a received transfer; prints the receipt's words, writes it into a file.
    Give {
        /// The transfer's number.
        id: i64,
        /// How much it tells, 0 to 3; never more than the site's policy.
        #[arg(long, value_name = "N")]
        level: Option<u8>,
        /// Write the signed statement here.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Write a printable page with a QR code here.
        #[arg(long, value_name = "FILE")]
        page: Option<PathBuf>,
    },
    /// Take a receipt from a file, or its words from standard input.
    Take {
        /// The signed statement, or a text file of its words.
        file: Option<PathBuf>,
    },
}

/// `want`.
#[derive(Debug, Subcommand)]
pub enum WantAction {
    /// Note that a package is wanted.
    Add {
        /// Package format.
        format: String,
        /// Package.
        package: String,
        /// Version; any without it.
        #[arg(default_value = "", value_name = "VERSION")]
        release: String,
        /// Why.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// List what is wanted, and where it stands.
    List,
    /// Write the open wants as a signed request (isolated site).
    Request {
        /// The file to write.
        file: PathBuf,
    },
    /// Take another site's request in (connected site).
    Take {
        /// The request.
        file: PathBuf,
    },
}

/// `medium`.
#[derive(Debug, Subcommand)]
pub enum MediumAction {
    /// List media.
    List,
    /// Register a medium, or say where it is now; each move is an entry of the audit log.
    Move {
        /// Its serial number.
        serial: String,
        /// `written`, `handed-over`, `received`, `returned`, `destroyed` or `lost`.
        state: String,
        /// Who has it now.
        #[arg(long)]
        holder: String,
        /// The transfer on it; needed for a new medium.
        #[arg(long, value_name = "N")]
        transfer: Option<i64>,
        /// What is written on it.
        #[arg(long)]
        label: Option<String>,
        /// A file on it; may be repeated.
        #[arg(long = "carries", value_name = "NAME")]
        files: Vec<String>,
    },
}

/// `stream`.
#[derive(Debug, Subcommand)]
pub enum StreamAction {
    /// List frozen streams, and why.
    List,
    /// Take from a stream again.
    Thaw {
        /// The stream.
        stream: String,
        /// What was found out.
        #[arg(long)]
        reason: String,
    },
}

/// `approve` and `reject`.
#[derive(Debug, Args)]
pub struct VoteArgs {
    /// The transfer's number.
    pub id: i64,
    /// The digest that you looked at; asked of the site and shown when it is not given.
    #[arg(long)]
    pub digest: Option<String>,
    /// Why.
    #[arg(long, default_value = "")]
    pub reason: String,
}

/// `repo`.
#[derive(Debug, Subcommand)]
pub enum RepoAction {
    /// List repositories.
    List,
    /// Create a repository.
    Create {
        /// Its name.
        name: String,
        /// Its package format.
        #[arg(long)]
        format: String,
        /// `hosted`, `mirror` or `group`.
        #[arg(long, default_value = "hosted")]
        kind: String,
        /// Members of a group, in order.
        #[arg(long = "member")]
        members: Vec<String>,
    },
    /// List packages of a repository, or search them.
    Packages {
        /// The repository.
        name: String,
        /// Only those whose name contains this.
        search: Option<String>,
    },
}

/// `project`.
#[derive(Debug, Subcommand)]
pub enum ProjectAction {
    /// List projects.
    List,
    /// Create a project with an empty git repository.
    Create {
        /// Its path, `<group>/<name>`.
        path: String,
    },
}

/// `pipeline`.
#[derive(Debug, Subcommand)]
pub enum PipelineAction {
    /// List a project's pipelines, newest first.
    List {
        /// The project, `<group>/<name>`.
        project: String,
    },
    /// Show a pipeline and its jobs; exit code 1 when it failed.
    Show {
        /// The pipeline's number.
        id: i64,
    },
    /// Start a pipeline for a branch or tag.
    Run {
        /// The project, `<group>/<name>`.
        project: String,
        /// The branch or tag.
        #[arg(long = "ref", default_value = "main", value_name = "REF")]
        reference: String,
    },
}

/// `job`.
#[derive(Debug, Subcommand)]
pub enum JobAction {
    /// Wait for a job to end and print its log.
    Log {
        /// The job's number.
        id: i64,
    },
    /// Print the signed statement of what a job's artifacts were made from.
    Provenance {
        /// The job's number.
        id: i64,
    },
}

/// `audit`.
#[derive(Debug, Subcommand)]
pub enum AuditAction {
    /// Check the whole log offline: from a site's state folder, or from an export.
    Verify {
        /// An exported log; without it, the state folder's own.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// The site's note key, as `cofferdam key show` prints it; needed with --file.
        #[arg(long, value_name = "KEY")]
        note_key: Option<String>,
    },
    /// Write the whole log as JSON lines.
    Export {
        /// The file to write.
        file: PathBuf,
    },
    /// Show the newest entries.
    Log {
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
}

/// `key`.
#[derive(Debug, Subcommand)]
pub enum KeyAction {
    /// Show this site's public keys.
    Show,
    /// Show the other sites that this one knows: believed keys, recipients, root documents.
    List,
    /// Believe a key of another site no more, or seal to a recipient of it no more.
    Forget {
        /// The other site's name.
        #[arg(value_name = "SITE")]
        of: String,
        /// Its key, its recipient `age1…`, or `root` for its root documents.
        key: String,
    },
    /// Believe transfers of another site that are signed with this key.
    Trust {
        /// The other site's name.
        #[arg(value_name = "SITE")]
        sender: String,
        /// Its key.
        key: String,
    },
    /// Seal transfers for another site to this key of it.
    Recipient {
        /// The other site's name.
        #[arg(value_name = "SITE")]
        receiver: String,
        /// Its recipient, `age1…`, as `cofferdam key show` prints it there.
        recipient: String,
    },
    /// Make a key file for a person, such as a releasing officer or a holder of the root.
    New {
        /// The file to write.
        file: PathBuf,
    },
    /// Make a root document: whose signatures count, and how many.
    Root(RootArgs),
    /// Add a root holder's signature to a root document.
    SignRoot {
        /// The root document.
        file: PathBuf,
        /// The holder's key file.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Believe another site's root document, or the next one of it (and, by its own name, this site's).
    TrustRoot {
        /// The site that it speaks for.
        #[arg(value_name = "SITE")]
        sender: String,
        /// The root document.
        file: PathBuf,
        /// Its fingerprint, read aloud by whoever made it; needed for the first one.
        #[arg(long, value_name = "SHA256")]
        fingerprint: Option<String>,
    },
}

/// `key root`.
#[derive(Debug, Args)]
pub struct RootArgs {
    /// The file to write.
    pub file: PathBuf,
    /// The document that it follows; the new one has the next version.
    #[arg(long, value_name = "FILE")]
    pub after: Option<PathBuf>,
    /// `ROLE=PERSON:KEY` with a public key; may be repeated. Roles: root, collector, releaser, receiver,
    /// approver, guard.
    #[arg(long = "holder", value_name = "ROLE=PERSON:KEY", required = true)]
    pub holders: Vec<String>,
    /// `ROLE=N`: how many of a role must sign; 1 without it.
    #[arg(long = "threshold", value_name = "ROLE=N")]
    pub thresholds: Vec<String>,
    /// Every role's signature must come from another person.
    #[arg(long)]
    pub distinct_persons: bool,
    /// How many days it is good for.
    #[arg(long, default_value_t = 365)]
    pub days: u64,
}

/// `user`.
#[derive(Debug, Subcommand)]
pub enum UserAction {
    /// Add a person; the password is read from standard input when it is not a terminal, else asked.
    Create {
        /// The name they log in with.
        name: String,
        /// A role; may be repeated: admin, developer, officer, approver, auditor.
        #[arg(long = "role")]
        roles: Vec<String>,
        /// No password: they use tokens only.
        #[arg(long)]
        no_password: bool,
    },
    /// List people.
    List,
}

/// `token`.
#[derive(Debug, Subcommand)]
pub enum TokenAction {
    /// Make a token for a person and print it, once.
    Create {
        /// The person.
        #[arg(long)]
        user: String,
        /// What to call it.
        #[arg(long, default_value = "command line")]
        name: String,
        /// How many days it is good for.
        #[arg(long, default_value_t = 90)]
        days: u64,
    },
    /// Revoke a token by its number.
    Revoke {
        /// The number.
        id: i64,
    },
}

/// `config`.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Check the file and say every mistake.
    Check,
    /// Show every value and where it comes from.
    Show,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    const COMMANDS: &str = include_str!("../../../docs/manual/commands.md");
    const INSTALLING: &str = include_str!("../../../docs/manual/installing.md");

    /// `cofferdam a b` for every command below `command`, with its long flags.
    fn walk(command: &clap::Command, name: &str, out: &mut Vec<(String, Vec<String>)>) {
        for sub in command.get_subcommands() {
            let name = format!("{name} {}", sub.get_name());
            let flags = sub.get_arguments().filter_map(|a| a.get_long()).map(|long| format!("`--{long}"));
            out.push((name.clone(), flags.collect()));
            walk(sub, &name, out);
        }
    }

    /// The manual's words from a command's first mention on, up to the next heading.
    fn section<'a>(name: &str) -> Option<&'a str> {
        let named = |after: &str| after.starts_with(|c: char| !c.is_alphanumeric() && c != '-');
        let at = COMMANDS.match_indices(name).find(|(i, _)| named(&COMMANDS[i + name.len()..]))?.0;
        let rest = &COMMANDS[at..];
        let heading = rest.find('\n').and_then(|line| Some(line + rest[line..].find("\n## ")?));
        let smaller = rest.find('\n').and_then(|line| Some(line + rest[line..].find("\n### ")?));
        let end = heading.into_iter().chain(smaller).min().unwrap_or(rest.len());
        Some(&rest[..end])
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_manual_names_every_command_and_flag() {
        let mut all = Vec::new();
        walk(&Cli::command(), "cofferdam", &mut all);
        assert!(all.len() > 20, "{all:?}");
        for (name, flags) in all {
            let text = section(&name).unwrap_or_else(|| panic!("docs/manual/commands.md: no `{name}`"));
            for flag in flags {
                let flag = flag.trim_start_matches('`');
                assert!(text.contains(flag), "docs/manual/commands.md: `{name}` lacks {flag}");
            }
        }
        for flag in Cli::command().get_arguments().filter_map(clap::Arg::get_long) {
            assert!(COMMANDS.contains(&format!("--{flag}")), "docs/manual/commands.md lacks --{flag}");
        }
    }

    #[test]
    fn the_manual_names_every_configuration_key() {
        for (variable, key) in crate::config::OVERRIDES {
            for word in [variable, key] {
                assert!(INSTALLING.contains(&format!("`{word}`")), "docs/manual/installing.md lacks {word}");
            }
        }
    }
}
