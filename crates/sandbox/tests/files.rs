//! What a command inside sees of the host's files, and what it can do to them.

mod common;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cofferdam_sandbox::{Exit, INSIDE_ID, Mount, Sandbox};
use cofferdam_types::ErrorKind;
use common::{possible, run, shell};

fn mount(source: &Path, target: &str, writable: bool) -> Mount {
    Mount { source: source.into(), target: target.into(), writable }
}

#[tokio::test]
async fn the_host_is_read_only() {
    if !possible("the_host_is_read_only") {
        return;
    }
    let places = "/usr /etc / /proc/sys /sys /bin /var";
    let script = format!(
        "for p in {places}; do if touch $p/x 2>/dev/null; then echo wrote $p; fi; done; ls /usr/bin >/dev/null"
    );
    let (outcome, out, _) = run(shell(&script)).await;
    assert_eq!((outcome.status, out.as_str()), (Exit::Code(0), ""));
}

#[tokio::test]
async fn the_machine_wide_switches_of_proc_cannot_be_turned() {
    if !possible("the_machine_wide_switches_of_proc_cannot_be_turned") {
        return;
    }
    let script = "for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/kernel/hostname; do
        if (echo x >$f) 2>/dev/null; then echo wrote $f; fi; done; cat /proc/kcore /proc/1/environ /proc/1/mem 2>/dev/null | wc -c";
    let (_, out, _) = run(shell(script)).await;
    assert_eq!(out.trim(), "0");
}

#[tokio::test]
async fn private_folders_are_empty_and_writable() {
    if !possible("private_folders_are_empty_and_writable") {
        return;
    }
    let script = "ls -A /tmp /var/tmp /dev/shm | grep -v : | grep -v '^$'; echo a >/tmp/a && echo b >/var/tmp/b && mv /tmp/a /dev/shm/a && cat /dev/shm/a";
    let (outcome, out, err) = run(shell(script)).await;
    assert_eq!((outcome.status, out.as_str(), err.as_str()), (Exit::Code(0), "a\n", ""));
}

#[tokio::test]
async fn a_hidden_home_is_empty_but_can_hold_a_mount() {
    if !possible("a_hidden_home_is_empty_but_can_hold_a_mount") {
        return;
    }
    // Not below /tmp, which is hidden anyway.
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::write(home.path().join("id_ed25519"), "secret").unwrap();
    std::fs::create_dir(home.path().join("project")).unwrap();
    std::fs::write(home.path().join("project/main.py"), "print()").unwrap();
    let inside = home.path().canonicalize().unwrap();
    let shown = inside.join("deep/er/project");

    let mut spec = shell(&format!("cd {} && ls -A && cat {}/main.py", inside.display(), shown.display()));
    spec.hide = vec![home.path().into()];
    spec.mounts = vec![mount(&home.path().join("project"), shown.to_str().unwrap(), false)];
    let (outcome, out, err) = run(spec).await;
    assert_eq!((outcome.status, out.as_str(), err.as_str()), (Exit::Code(0), "deep\nprint()", ""));
    assert!(!home.path().join("deep").exists(), "nothing was created on the host");
}

#[tokio::test]
async fn a_hidden_file_reads_as_empty() {
    if !possible("a_hidden_file_reads_as_empty") {
        return;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "secret").unwrap();
    let mut spec = shell(&format!("cat {} | wc -c", file.display()));
    spec.hide = vec![file];
    assert_eq!(run(spec).await.1.trim(), "0");
}

#[tokio::test]
async fn the_work_folder_is_writable_and_its_files_are_the_callers() {
    if !possible("the_work_folder_is_writable_and_its_files_are_the_callers") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let me = std::fs::metadata(work.path()).unwrap();
    let mut spec =
        shell("id -u; pwd; mkdir out && echo made >out/file && mv out/file ./file && stat -c %u file");
    spec.mounts = vec![mount(work.path(), "/build/project", true)];
    spec.workdir = "/build/project".into();
    let (outcome, out, err) = run(spec).await;
    assert_eq!((outcome.status, err.as_str()), (Exit::Code(0), ""));
    assert_eq!(out, format!("{INSIDE_ID}\n/build/project\n{INSIDE_ID}\n"));
    let file = work.path().join("file");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "made\n");
    assert_eq!(std::fs::metadata(file).unwrap().uid(), me.uid());
}

#[tokio::test]
async fn a_read_only_mount_stays_so() {
    if !possible("a_read_only_mount_stays_so") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let mut spec = shell("touch /build/x");
    spec.mounts = vec![mount(work.path(), "/build", false)];
    assert_ne!(run(spec).await.0.status, Exit::Code(0));
    assert!(!work.path().join("x").exists());
}

#[tokio::test]
async fn a_mount_point_can_be_added_below_a_read_only_folder() {
    if !possible("a_mount_point_can_be_added_below_a_read_only_folder") {
        return;
    }
    let tools = tempfile::tempdir().unwrap();
    std::fs::write(tools.path().join("tool"), "here").unwrap();
    let mut spec = shell("cat /usr/no-such-vendor/tools/tool && ls /usr/bin/env && touch /usr/bin/x");
    spec.mounts = vec![mount(tools.path(), "/usr/no-such-vendor/tools", false)];
    let (outcome, out, _) = run(spec).await;
    assert_eq!(out, "here/usr/bin/env\n");
    assert_ne!(outcome.status, Exit::Code(0), "the rest is still read-only");
    assert!(!Path::new("/usr/no-such-vendor").exists());
}

#[tokio::test]
async fn a_rebuilt_folder_keeps_what_is_hidden_below_it_hidden() {
    if !possible("a_rebuilt_folder_keeps_what_is_hidden_below_it_hidden") {
        return;
    }
    let parent = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let parent = parent.path().canonicalize().unwrap();
    std::fs::create_dir(parent.join("secrets")).unwrap();
    std::fs::write(parent.join("secrets/key"), "secret").unwrap();
    std::fs::write(parent.join("token"), "secret").unwrap();
    let source = tempfile::tempdir().unwrap();
    let mut spec = shell(&format!("cd {} && ls && ls secrets && cat token", parent.display()));
    spec.hide = vec![parent.join("secrets"), parent.join("token")];
    spec.mounts = vec![mount(source.path(), parent.join("new").to_str().unwrap(), true)];
    let (_, out, err) = run(spec).await;
    assert_eq!((out.as_str(), err.as_str()), ("new\nsecrets\ntoken\n", ""));
}

#[tokio::test]
async fn impossible_mounts_are_refused_with_their_names() {
    let work = tempfile::tempdir().unwrap();
    for (source, target) in [
        (work.path().join("missing"), "/build"),
        (work.path().to_path_buf(), "relative"),
        (work.path().to_path_buf(), "/build/../etc"),
        (work.path().to_path_buf(), "/"),
    ] {
        let mut spec = shell("true");
        spec.mounts = vec![Mount { source, target: target.into(), writable: true }];
        let error = Sandbox::spawn(spec).await.expect_err("refused");
        assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, "sandbox-mount"), "{target}");
    }
}

#[tokio::test]
async fn a_link_in_a_mounted_folder_cannot_redirect_a_mount_point() {
    let work = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc", work.path().join("sub")).unwrap();
    let mut spec = shell("true");
    spec.mounts = vec![mount(work.path(), "/build", true), mount(work.path(), "/build/sub/x", true)];
    let error = Sandbox::spawn(spec).await.expect_err("refused");
    assert!(error.message().contains("passes the link"), "{error}");
}
