//! The program has no network code: not in its dependencies, and not when it runs.

#[path = "../../station/tests/made/mod.rs"]
mod made;

use std::process::Command;

/// Crates that open sockets. Whoever needs one of them does not belong into a kiosk's program.
const NETWORKING: &[&str] = &[
    "async-std",
    "curl",
    "h2",
    "hyper",
    "hyper-util",
    "mio",
    "native-tls",
    "quinn",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "sqlx",
    "sqlx-core",
    "tokio",
    "tokio-util",
    "tower",
    "ureq",
    "axum",
];

#[test]
fn no_dependency_opens_sockets() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let args = "tree --offline --package cofferdam-verify --edges normal,build --prefix none --format {p}";
    let out =
        Command::new(cargo).current_dir(env!("CARGO_MANIFEST_DIR")).args(args.split(' ')).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"cofferdam-transfer"), "the tree was not read: {text}");
    let found: Vec<_> = names.iter().filter(|name| NETWORKING.contains(name)).collect();
    assert!(found.is_empty(), "cofferdam-verify depends on {found:?}");
}

#[test]
fn the_running_program_makes_no_socket() {
    let strace = Command::new("strace").args(["-f", "-e", "trace=none", "true"]).output();
    if !strace.is_ok_and(|out| out.status.success()) {
        eprintln!("skipped: the_running_program_makes_no_socket needs strace and the right to trace");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let folder = made::sealed(home.path());
    let log = home.path().join("calls");
    let out = Command::new("strace")
        .args(["-f", "-e", "trace=%network,openat", "-o"])
        .arg(&log)
        .arg(env!("CARGO_BIN_EXE_cofferdam-verify"))
        .arg(&folder)
        .args(["--key", &made::public(1)])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let calls = std::fs::read_to_string(log).unwrap();
    assert!(calls.contains("header.dsse.json"), "nothing was traced: {calls}");
    for call in ["socket(", "socketpair(", "connect(", "bind(", "sendto("] {
        assert!(!calls.contains(call), "{calls}");
    }
}
