//! How commands start, end and are ended, and what bounds them.

mod common;

use std::time::Duration;

use cofferdam_sandbox::{Exit, Sandbox, SandboxSpec, Stdio};
use cofferdam_types::ErrorKind;
use common::{possible, run, shell};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn exit_codes_and_signals_come_through() {
    if !possible("exit_codes_and_signals_come_through") {
        return;
    }
    for (script, expected) in [
        ("exit 0", Exit::Code(0)),
        ("exit 7", Exit::Code(7)),
        ("exit 255", Exit::Code(255)),
        ("kill -TERM $$", Exit::Signal(15)),
        ("kill -KILL $$", Exit::Signal(9)),
    ] {
        assert_eq!(run(shell(script)).await.0.status, expected, "{script}");
    }
}

#[tokio::test]
async fn a_command_that_is_not_there_is_an_error_not_an_exit_code() {
    if !possible("a_command_that_is_not_there_is_an_error_not_an_exit_code") {
        return;
    }
    for command in ["no-such-command", "/no/such/command"] {
        let error = Sandbox::spawn(SandboxSpec::new([command])).await.expect_err("not there");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains(command));
    }
    let error = Sandbox::spawn(SandboxSpec::new(["/etc/passwd"])).await.expect_err("not executable");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn nothing_is_inherited() {
    if !possible("nothing_is_inherited") {
        return;
    }
    let mut spec = SandboxSpec::new(["/usr/bin/env"]);
    spec.env = vec![("ONLY".into(), "this".into())];
    assert_eq!(run(spec).await.1, "ONLY=this\n");
    assert_eq!(run(shell("tr -d '\\0' </proc/1/cmdline; cat /proc/1/comm")).await.1, "sandbox\n");
    // The streams, and the descriptor that `ls` itself opens.
    assert_eq!(run(shell("ls /proc/self/fd | wc -l; cat /proc/sys/kernel/hostname")).await.1, "4\nsandbox\n");
}

#[tokio::test]
async fn a_command_has_no_capabilities_and_cannot_get_any() {
    if !possible("a_command_has_no_capabilities_and_cannot_get_any") {
        return;
    }
    let script = "grep -E '^(CapEff|CapPrm|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'; \
                  mount -t tmpfs none /tmp 2>/dev/null && echo mounted; unshare -U true 2>/dev/null && echo nested; true";
    let (_, out, _) = run(shell(script)).await;
    assert_eq!(out, "CapPrm:0000000000000000\nCapEff:0000000000000000\nNoNewPrivs:1\nSeccomp:2\n");
}

#[tokio::test]
async fn standard_input_is_piped() {
    if !possible("standard_input_is_piped") {
        return;
    }
    let mut spec = SandboxSpec::new(["cat"]);
    (spec.stdin, spec.stdout) = (Stdio::Piped, Stdio::Piped);
    let mut running = Sandbox::spawn(spec).await.unwrap();
    let mut stdin = running.stdin.take().unwrap();
    stdin.write_all(b"through").await.unwrap();
    drop(stdin);
    let mut out = String::new();
    running.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    assert_eq!((out.as_str(), running.wait().await.unwrap().status), ("through", Exit::Code(0)));
}

/// Starts a command that leaves a daemon behind; returns when both run.
async fn with_daemon(then: &str) -> cofferdam_sandbox::Running {
    let mut spec = shell(&format!("setsid sleep 1000 & echo up; {then}"));
    spec.stdout = Stdio::Piped;
    let mut running = Sandbox::spawn(spec).await.unwrap();
    let mut up = [0; 3];
    running.stdout.as_mut().unwrap().read_exact(&mut up).await.unwrap();
    running
}

/// The daemon holds the pipe, so its end is the end of every process inside.
async fn all_gone(mut stdout: tokio::net::unix::pipe::Receiver) {
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stdout.read_to_end(&mut rest))
        .await
        .expect("ended")
        .unwrap();
}

#[tokio::test]
async fn everything_dies_with_the_handle() {
    if !possible("everything_dies_with_the_handle") {
        return;
    }
    let mut running = with_daemon("exec sleep 1000").await;
    let stdout = running.stdout.take().unwrap();
    drop(running);
    all_gone(stdout).await;
}

#[tokio::test]
async fn everything_dies_when_killed() {
    if !possible("everything_dies_when_killed") {
        return;
    }
    let mut running = with_daemon("exec sleep 1000").await;
    running.kill();
    assert_eq!(running.wait().await.unwrap().status, Exit::Killed);
    all_gone(running.stdout.take().unwrap()).await;
}

#[tokio::test]
async fn a_daemon_does_not_outlive_its_command() {
    if !possible("a_daemon_does_not_outlive_its_command") {
        return;
    }
    let mut running = with_daemon("exit 3").await;
    assert_eq!(running.wait().await.unwrap().status, Exit::Code(3));
    all_gone(running.stdout.take().unwrap()).await;
}

#[tokio::test]
async fn the_wall_limit_ends_it() {
    if !possible("the_wall_limit_ends_it") {
        return;
    }
    let mut spec = shell("trap '' TERM INT; sleep 1000");
    spec.limits.wall = Some(Duration::from_millis(200));
    let outcome = run(spec).await.0;
    assert_eq!(outcome.status, Exit::TimedOut);
    assert!(outcome.duration >= Duration::from_millis(200) && outcome.duration < Duration::from_secs(5));
}

#[tokio::test]
async fn a_fork_bomb_is_bounded() {
    let story = "a_fork_bomb_is_bounded";
    if !possible(story) {
        return;
    }
    let mut spec = shell("i=0; while [ $i -lt 1000 ]; do sleep 1000 & i=$((i+1)); echo $i; done");
    spec.limits.max_processes = Some(310);
    let (outcome, out, err) = run(spec).await;
    let started: u32 = out.lines().last().unwrap().parse().unwrap();
    if started == 1000 && err.is_empty() {
        println!(
            "skipped: {story}: root on a kernel before 6.14, which bounds neither root nor the namespace"
        );
        return;
    }
    assert!((200..=310).contains(&started), "{started}");
    assert_ne!(outcome.status, Exit::Code(0));
}

#[tokio::test]
async fn files_and_memory_are_bounded() {
    if !possible("files_and_memory_are_bounded") {
        return;
    }
    let mut spec = shell("head -c 2000000 /dev/zero >/tmp/big; stat -c %s /tmp/big");
    spec.limits.max_file_size = Some(1_000_000);
    assert_eq!(run(spec).await.1.trim(), "1000000");

    let mut spec = shell("head -c 300000000 /dev/zero | tail -c 300000000 | wc -c");
    spec.limits.max_memory = Some(64 << 20);
    let (_, out, err) = run(spec).await;
    assert_eq!(out.trim(), "0", "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_run_at_once() {
    if !possible("twenty_run_at_once") {
        return;
    }
    let all: Vec<_> = (0..20).map(|n| tokio::spawn(run(shell(&format!("echo {n}; exit {n}"))))).collect();
    for (n, one) in all.into_iter().enumerate() {
        let (outcome, out, _) = one.await.unwrap();
        assert_eq!((outcome.status, out), (Exit::Code(n as i32), format!("{n}\n")));
    }
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing() {
    if !possible("a_start_that_is_given_up_leaves_nothing") {
        return;
    }
    // Whatever is running inside holds the lock; taking it back means that nobody is.
    let work = tempfile::tempdir().unwrap();
    let lock = std::fs::File::create(work.path().join("lock")).unwrap();
    for patience in [0, 500, 1000, 2000, 4000] {
        let mut spec = shell("exec flock /build/lock sleep 1000");
        spec.mounts = vec![cofferdam_sandbox::Mount {
            source: work.path().into(),
            target: "/build".into(),
            writable: true,
        }];
        let start = Sandbox::spawn(spec);
        drop(tokio::time::timeout(Duration::from_micros(patience), start).await);
    }
    tokio::time::timeout(Duration::from_secs(10), tokio::task::spawn_blocking(move || lock.lock()))
        .await
        .expect("nobody holds the lock")
        .unwrap()
        .unwrap();
}
