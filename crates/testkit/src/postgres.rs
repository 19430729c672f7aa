//! A private PostgreSQL, started from the machine's own binaries, gone with the test process.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::{fs::PermissionsExt, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// A running server. Its folder and process go when the test process ends, however it ends: the
/// server's parent is a shell that waits for the end of a pipe which this process holds.
struct Server {
    bin: PathBuf,
    folder: PathBuf,
    account: Option<u32>,
    _shell: Child,
}

static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The URL of a new, empty database, or `None` after saying by name what is skipped and why.
///
/// # Panics
/// When the server is there but does not work: that is a failure, not a reason to skip.
#[must_use]
pub fn postgres() -> Option<String> {
    match SERVER.get_or_init(start) {
        Ok(server) => Some(server.database()),
        Err(why) => {
            println!("skipped: PostgreSQL: {why}");
            None
        }
    }
}

fn start() -> Result<Server, String> {
    let bin = find().ok_or(
        "no initdb and postgres on PATH or in /usr/lib/postgresql (Debian: apt-get install postgresql)",
    )?;
    // PostgreSQL refuses to run as root.
    let account = is_root().then(|| account("postgres").or_else(|| account("nobody"))).flatten();
    let folder = tempfile::Builder::new().prefix("cofferdam-pg").tempdir().map_err(|e| e.to_string())?.keep();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).map_err(|e| e.to_string())?;
    if let Some(uid) = account {
        std::os::unix::fs::chown(&folder, Some(uid), None).map_err(|e| e.to_string())?;
    }
    let data = folder.join("data");
    let mut initdb = as_account(Command::new(bin.join("initdb")), account, &folder);
    let made = initdb
        .args([
            "--auth=trust",
            "--username=cofferdam",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
            "--pgdata",
        ])
        .arg(&data)
        .output()
        .map_err(|e| format!("initdb did not start: {e}"))?;
    if !made.status.success() {
        return Err(format!("initdb failed: {}", String::from_utf8_lossy(&made.stderr)));
    }
    let script = "\"$1\" -D \"$2\" -k \"$3\" -c listen_addresses= -c fsync=off >&2 & \
                  pid=$!; cat >/dev/null; kill -INT $pid; wait $pid; rm -rf \"$3\"";
    let mut shell = as_account(Command::new("sh"), account, &folder)
        .args(["-c", script, "sh"])
        .args([bin.join("postgres"), data, folder.clone()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| e.to_string())?;
    let log = shell.stderr.take().ok_or("no log")?;
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    if !lines.by_ref().any(|line| line.contains("ready to accept connections")) {
        return Err("the server ended before it was ready".into());
    }
    // Somebody has to read the log, or the server stops when the pipe is full.
    std::thread::spawn(move || lines.for_each(drop));
    Ok(Server { bin, folder, account, _shell: shell })
}

impl Server {
    fn database(&self) -> String {
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let made = as_account(Command::new(self.bin.join("createdb")), self.account, &self.folder)
            .args(["--username=cofferdam", "--host"])
            .arg(&self.folder)
            .arg(&name)
            .output()
            .expect("createdb starts");
        assert!(made.status.success(), "createdb: {}", String::from_utf8_lossy(&made.stderr));
        format!("postgres://cofferdam@localhost/{name}?host={}", self.folder.display())
    }
}

fn as_account(mut command: Command, account: Option<u32>, folder: &Path) -> Command {
    command.current_dir(folder).env("LC_ALL", "C").env_remove("PGDATA");
    if let Some(uid) = account {
        command.uid(uid);
    }
    command
}

fn find() -> Option<PathBuf> {
    let given = std::env::var_os("COFFERDAM_TEST_PG_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path().join("bin"));
    given
        .into_iter()
        .chain(debian)
        .chain(std::env::split_paths(&path).collect::<Vec<_>>())
        .find(|d| ["initdb", "postgres", "createdb"].iter().all(|n| d.join(n).is_file()))
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

fn account(name: &str) -> Option<u32> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}
