//! Ways to cheat the git service, and clients that go away: nothing moves, nothing is left.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use cofferdam_git::{ByteStream, GitBinary, GitService, Oid, Push, PushPolicy, RefUpdate};
use cofferdam_types::{ErrorKind, ProjectId, Result};
use futures::StreamExt as _;
use tokio::sync::{Notify, Semaphore};

const PROJECT: ProjectId = ProjectId(1);
const OTHER: ProjectId = ProjectId(2);

struct World {
    home: tempfile::TempDir,
    git: GitBinary,
}

impl World {
    async fn new() -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let git = GitBinary::open(&home.path().join("repos")).await.expect("git");
        git.init(PROJECT, "main").await.expect("init");
        git.init(OTHER, "main").await.expect("init");
        std::fs::create_dir(home.path().join("work")).expect("a folder");
        let world = Self { home, git };
        world.sh("git init --quiet -b main; echo one > a; git add a; git commit --quiet -m one");
        world
    }

    /// Runs a script in the working copy; its output.
    fn sh(&self, script: &str) -> String {
        let done = Command::new("sh")
            .args(["-ec", script])
            .current_dir(self.home.path().join("work"))
            .env("HOME", self.home.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "Alice")))
            .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "alice@example.org")))
            .output()
            .expect("sh");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// What a client sends to push `HEAD` to a new branch.
    fn push_of_head(&self, branch: &str) -> Vec<u8> {
        self.sh("git rev-parse HEAD | git pack-objects --revs --stdout -q > ../pack");
        let id = self.sh("git rev-parse HEAD");
        let zero = "0".repeat(40);
        let line = format!("{zero} {id} refs/heads/{branch}\0report-status side-band-64k\n");
        let mut body = format!("{:04x}{line}0000", line.len() + 4).into_bytes();
        body.extend(std::fs::read(self.home.path().join("pack")).expect("a pack"));
        body
    }

    async fn push(&self, body: Vec<u8>, policy: Arc<dyn PushPolicy>) -> Result<Vec<u8>> {
        push(self.git.clone(), stream(body), policy).await
    }

    async fn refs(&self, project: ProjectId) -> Vec<(String, Oid)> {
        self.git.list_refs(project).await.expect("refs")
    }

    /// Everything below the repositories' folder that has no business there after a push.
    fn leftovers(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.home.path().join("repos")];
        while let Some(folder) = folders.pop() {
            let in_work = folder.file_name().is_some_and(|name| name == "work");
            for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if in_work || name.starts_with("tmp_") || name.ends_with(".lock") {
                    found.push(entry.path());
                } else if entry.path().is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        found
    }

    /// Processes that were started for this world's repositories.
    fn processes(&self) -> Vec<String> {
        let root = self.home.path().to_string_lossy().into_owned();
        let ours = |folder: &Path| {
            let read = |name| std::fs::read(folder.join(name)).unwrap_or_default();
            let (environment, line) = (read("environ"), read("cmdline"));
            let ours = String::from_utf8_lossy(&environment).contains(&root) && !line.is_empty();
            ours.then(|| String::from_utf8_lossy(&line).replace('\0', " "))
        };
        let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
        entries.filter_map(|entry| ours(&entry.path())).collect()
    }

    /// Waits until a broken push is cleaned up; the test's own time limit is the bound.
    async fn until_clean(&self) {
        while !(self.leftovers().is_empty() && self.processes().is_empty()) {
            tokio::task::yield_now().await;
        }
    }
}

fn stream(body: Vec<u8>) -> ByteStream {
    let chunks: Vec<_> = body.chunks(1000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    futures::stream::iter(chunks).boxed()
}

async fn push(git: GitBinary, body: ByteStream, policy: Arc<dyn PushPolicy>) -> Result<Vec<u8>> {
    let push = Push { protocol: None, gzip: false, body, policy, limit: 1 << 20 };
    let mut answer = git.receive_pack(PROJECT, push).await?;
    let mut said = Vec::new();
    while let Some(chunk) = answer.next().await {
        said.extend_from_slice(&chunk?);
    }
    Ok(said)
}

/// Lets as many pushes through as the test says, and remembers what was made.
struct Gate {
    asked: Notify,
    open: Semaphore,
    made: Mutex<Vec<RefUpdate>>,
    /// Told of a push; it goes on when `heard` has a permit.
    told: Notify,
    heard: Semaphore,
    over: Notify,
}

impl Gate {
    fn new(open: usize) -> Arc<Self> {
        let (open, heard) = (Semaphore::new(open), Semaphore::new(open));
        let (asked, told, over) = (Notify::new(), Notify::new(), Notify::new());
        Arc::new(Self { asked, open, made: Mutex::default(), told, heard, over })
    }
}

#[async_trait]
impl PushPolicy for Gate {
    async fn before(&self, _: &[RefUpdate]) -> std::result::Result<(), String> {
        self.asked.notify_one();
        self.open.acquire().await.map_err(|e| e.to_string())?.forget();
        Ok(())
    }

    async fn after(&self, updates: &[RefUpdate]) {
        self.told.notify_one();
        self.heard.acquire().await.expect("never closed").forget();
        self.made.lock().expect("no panic").extend_from_slice(updates);
        self.over.notify_one();
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_decision_leaves_nothing_behind() {
    let world = World::new().await;
    let gate = Gate::new(0);
    let client = tokio::spawn(push(world.git.clone(), stream(world.push_of_head("main")), gate.clone()));
    gate.asked.notified().await;
    assert!(!world.processes().is_empty(), "git waits for the verdict");
    client.abort();
    tokio::time::timeout(std::time::Duration::from_secs(30), world.until_clean()).await.expect("cleaned up");
    assert_eq!(world.refs(PROJECT).await, []);
    // The repository is as good as before.
    world.push(world.push_of_head("main"), Gate::new(1)).await.expect("a push");
    assert_eq!(world.refs(PROJECT).await.len(), 1);
}

#[tokio::test]
async fn a_push_that_was_accepted_is_finished_and_told_without_its_client() {
    let world = World::new().await;
    let gate = Gate::new(0);
    let client = tokio::spawn(push(world.git.clone(), stream(world.push_of_head("main")), gate.clone()));
    gate.open.add_permits(1);
    gate.told.notified().await;
    assert!(!client.is_finished(), "nobody hears of success before the policy");
    client.abort();
    assert!(client.await.is_err_and(|e| e.is_cancelled()));
    gate.heard.add_permits(1);
    gate.over.notified().await;
    let made = gate.made.lock().expect("no panic").clone();
    assert_eq!(made.len(), 1);
    assert!(made[0].old.is_zero());
    assert_eq!(world.refs(PROJECT).await, [("refs/heads/main".to_owned(), made[0].new.clone())]);
}

#[tokio::test]
async fn a_push_that_breaks_off_or_is_no_push_is_the_clients_fault() {
    let world = World::new().await;
    let mut body = world.push_of_head("main");
    body.truncate(body.len() - 30);
    let said = world.push(body.clone(), Gate::new(1)).await.expect("git's own report");
    assert!(String::from_utf8_lossy(&said).contains("unpack"), "{said:?}");
    let cut = cofferdam_types::Error::invalid("cut", "the client went away");
    let broken = futures::stream::iter([Ok(Bytes::from(body)), Err(cut)]).boxed();
    let error = push(world.git.clone(), broken, Gate::new(1)).await.expect_err("cut off");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    let error = world.push(b"GET / HTTP/1.1".to_vec(), Gate::new(1)).await.expect_err("no push");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert_eq!(world.refs(PROJECT).await, []);
    tokio::time::timeout(std::time::Duration::from_secs(30), world.until_clean()).await.expect("cleaned up");
}

#[tokio::test]
async fn a_push_of_an_object_that_no_git_should_check_out_is_refused() {
    let world = World::new().await;
    world.sh(EVIL_COMMIT);
    let gate = Gate::new(1);
    let said = world.push(world.push_of_head("main"), gate.clone()).await.expect("git's own report");
    assert!(String::from_utf8_lossy(&said).contains("unpack"), "{said:?}");
    assert_eq!(gate.open.available_permits(), 1, "nobody was asked");
    assert_eq!(world.refs(PROJECT).await, []);
    assert_eq!(world.leftovers(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn the_default_branch_cannot_be_deleted() {
    let world = World::new().await;
    world.push(world.push_of_head("main"), Gate::new(1)).await.expect("a push");
    let (id, zero) = (world.sh("git rev-parse HEAD"), "0".repeat(40));
    let line = format!("{id} {zero} refs/heads/main\0report-status delete-refs side-band-64k\n");
    let body = format!("{:04x}{line}0000", line.len() + 4).into_bytes();
    let said = world.push(body, Gate::new(1)).await.expect("git's own report");
    assert!(String::from_utf8_lossy(&said).contains("it is the default branch"), "{said:?}");
    assert_eq!(world.refs(PROJECT).await.len(), 1);
}

/// Makes `HEAD` a commit whose tree holds `.git`, which would write into a client's repository.
const EVIL_COMMIT: &str = "blob=$(echo x | git hash-object -w --stdin)
    tree=$(printf '100644 blob %s\\t.git\\n' $blob | git mktree)
    git update-ref refs/heads/main $(git commit-tree -m evil $tree)";

#[tokio::test]
async fn a_bundle_with_such_an_object_or_without_its_history_is_refused_whole() {
    let world = World::new().await;
    let bundle = world.home.path().join("bundle");
    let head = |world: &World| {
        vec![("refs/heads/main".to_owned(), world.sh("git rev-parse main").parse().expect("an id"))]
    };
    world.sh("echo two > a; git commit --quiet -am two; git bundle create -q ../bundle main~1..main");
    let error = world.git.unbundle(PROJECT, &bundle, &head(&world)).await.expect_err("its base is not here");
    assert_eq!((error.kind(), error.code()), (ErrorKind::VerificationFailed, "git-bundle"), "{error:?}");
    world.sh(EVIL_COMMIT);
    world.sh("git bundle create -q ../bundle main");
    let error = world.git.unbundle(PROJECT, &bundle, &head(&world)).await.expect_err("evil");
    assert_eq!((error.kind(), error.code()), (ErrorKind::VerificationFailed, "git-bundle"), "{error:?}");
    std::fs::write(&bundle, "# v2 git bundle\nnonsense").expect("a file");
    assert!(world.git.unbundle(PROJECT, &bundle, &head(&world)).await.is_err());
    assert_eq!(world.refs(PROJECT).await, []);
    assert_eq!(world.leftovers(), Vec::<PathBuf>::new());
    let evil = world.sh("git rev-parse main");
    assert_eq!(world.git.resolve(PROJECT, &evil).await.expect("git"), None, "no object is kept");
}

#[tokio::test]
async fn the_second_bundle_carries_only_the_news() {
    let world = World::new().await;
    let refs = ["refs/heads/main".to_owned(), "refs/heads/other".to_owned()];
    let file = |name: &str| world.home.path().join(name);
    world.push(world.push_of_head("main"), Gate::new(1)).await.expect("a push");
    world.push(world.push_of_head("other"), Gate::new(1)).await.expect("a push");
    let first = world.git.bundle(PROJECT, &refs, &[], &file("first")).await.expect("a bundle");
    world.git.unbundle(OTHER, &file("first"), &first).await.expect("taken");
    assert_eq!(world.refs(OTHER).await, world.refs(PROJECT).await);

    let unknown: Oid = "1".repeat(40).parse().expect("an id");
    let have: Vec<Oid> = first.iter().map(|(_, oid)| oid.clone()).chain([unknown]).collect();
    let again = world.git.bundle(PROJECT, &refs, &have, &file("again")).await.expect("nothing to send");
    assert_eq!(again, first);
    assert!(!file("again").exists());

    // One branch moves: the other is not in the bundle, and still arrives.
    world.sh("git fetch -q ../repos/1.git main:theirs; echo two > a; git commit --quiet -am two; git bundle create -q ../b main");
    let head = vec![("refs/heads/main".to_owned(), world.sh("git rev-parse main").parse().expect("an id"))];
    world.git.unbundle(PROJECT, &file("b"), &head).await.expect("taken");
    let second = world.git.bundle(PROJECT, &refs, &have, &file("second")).await.expect("a bundle");
    world.git.unbundle(OTHER, &file("second"), &second).await.expect("taken");
    assert_eq!(world.refs(OTHER).await, second);
}

/// Where the test below finds its folder when it runs inside the namespace.
const INSIDE: &str = "COFFERDAM_TEST_NOEXEC";

#[tokio::test]
async fn a_folder_where_hooks_cannot_run_is_refused_at_the_start() {
    if let Some(root) = std::env::var_os(INSIDE) {
        let error = GitBinary::open(Path::new(&root)).await.expect_err("git would pass over the hook");
        assert_eq!(error.code(), "git-hooks-cannot-run");
        assert!(error.advice().is_some_and(|hint| hint.contains("noexec")));
        return;
    }
    // The same test again in its own mount namespace: no privilege, and nothing to clean up.
    let home = tempfile::tempdir().expect("a folder");
    let name = "a_folder_where_hooks_cannot_run_is_refused_at_the_start";
    let script = "mount -t tmpfs -o noexec none \"$1\" && exec \"$2\" --exact \"$3\"";
    let started = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(home.path())
        .arg(std::env::current_exe().expect("this test"))
        .arg(name)
        .env(INSIDE, home.path())
        .output();
    let (said, complained) = match started {
        Ok(done) => (done.stdout, done.stderr),
        Err(error) => (Vec::new(), error.to_string().into_bytes()),
    };
    let said = String::from_utf8_lossy(&said);
    if !said.contains("running 1 test") {
        println!("skipped: {name}: no mount namespace: {}", String::from_utf8_lossy(&complained).trim());
        return;
    }
    assert!(said.contains("1 passed"), "{said}");
}
