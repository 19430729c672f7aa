//! What a run did with its network is told, all of it.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use cofferdam_runner::{Seen, SiteDoor, Target, Watched};
use cofferdam_sandbox::{Exit, Limits, SandboxSpec};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Whether this machine can watch; says so by name when not.
fn can_watch(story: &str) -> bool {
    let missing = cofferdam_sandbox::probe()
        .into_iter()
        .find(|check| !check.ok && (check.required || check.name == "watched network"));
    if let Some(check) = &missing {
        println!("skipped: {story}: {}: {}", check.name, check.detail);
    }
    missing.is_none()
}

async fn site(routes: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

/// A site that answers no request for an address, however long it is waited for.
async fn silent_site() -> SocketAddr {
    site(Router::new().fallback(|| async { std::future::pending::<()>().await })).await
}

/// A site that has every address, and answers with who asked.
async fn full_site() -> SocketAddr {
    let answer = |headers: HeaderMap| async move {
        let by = headers.get("x-cofferdam-asked-by").map_or("nobody", |by| by.to_str().unwrap());
        ([("x-cofferdam-digest", "sha256:00")], format!("by {by}\n"))
    };
    site(Router::new().fallback(answer)).await
}

/// A site whose answers never end, in pieces of 64 KiB.
async fn endless_site() -> SocketAddr {
    let piece = Bytes::from(vec![b'x'; 64 << 10]);
    let answer = move || {
        let pieces = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
        async move { ([("x-cofferdam-digest", "sha256:00")], Body::from_stream(pieces)) }
    };
    site(Router::new().fallback(answer)).await
}

/// Runs a script to its end beside a site.
async fn run(site: SocketAddr, script: &str) -> (Exit, Seen) {
    limited(site, script, Limits::default()).await
}

async fn limited(site: SocketAddr, script: &str, limits: Limits) -> (Exit, Seen) {
    let door = SiteDoor { listen: "127.0.0.1:8080".parse().unwrap(), to: Target::Tcp(site) };
    let watched = Watched::new(door, "token").unwrap();
    let trust = tempfile::tempdir().unwrap();
    let mut spec = SandboxSpec::new(["bash", "-c", script]);
    spec.env = vec![("PATH".into(), std::env::var_os("PATH").unwrap())];
    spec.limits = limits;
    let (mut running, unwatched) = watched.start(spec, trust.path()).await.unwrap();
    assert_eq!(unwatched, None);
    let seen = watched.seen(&mut running).await.unwrap();
    (running.wait().await.unwrap().status, seen)
}

/// Asks, and leaves without waiting for the answer.
const HASTY: &str = r#"
for n in 1 2 3 4 5 6 7 8; do
  exec 3<>/dev/tcp/files.example/80; printf 'GET /%s HTTP/1.1\r\nHost: files.example\r\n\r\n' $n >&3
done"#;

#[tokio::test]
async fn a_request_whose_client_is_gone_is_told_as_broken_off() {
    if !can_watch("a_request_whose_client_is_gone_is_told_as_broken_off") {
        return;
    }
    let (exit, seen) = run(silent_site().await, HASTY).await;
    assert_eq!(exit, Exit::Code(0));
    let mut told: Vec<_> = seen.asked.iter().map(|a| a.url.as_str()).collect();
    told.sort_unstable();
    let want: Vec<_> = (1..=8).map(|n| format!("http://files.example/{n}")).collect();
    assert_eq!(told, want);
    assert!(seen.asked.iter().all(|a| a.refused.as_deref().is_some_and(|why| why.starts_with("broken off"))));
    let taken: u64 = seen.log.lines.iter().filter(|l| l.attempt.port == 80).map(|l| l.count).sum();
    assert_eq!(taken, 8);
}

/// Two requests at once: whoever serves the first cannot see that the client is gone.
const PIPELINED: &str = r#"
exec 3<>/dev/tcp/files.example/80
one='GET /%s HTTP/1.1\r\nHost: files.example\r\n\r\n'; printf "$one$one" first second >&3"#;

#[tokio::test]
async fn a_request_under_way_at_the_end_is_given_up_in_time_and_told() {
    if !can_watch("a_request_under_way_at_the_end_is_given_up_in_time_and_told") {
        return;
    }
    let (exit, seen) = run(silent_site().await, PIPELINED).await;
    assert_eq!(exit, Exit::Code(0));
    let told: Vec<_> = seen.asked.iter().map(|a| (a.url.as_str(), a.refused.as_deref())).collect();
    assert_eq!(told, [("http://files.example/first", Some("broken off after 0 bytes of the answer"))]);
}

/// The refusal of a client that waits for its server proves that the other was waited for longer than that.
const SLOW: &str = r#"
exec 3<>/dev/tcp/files.example/8443; exec 4<>/dev/tcp/192.0.2.1/22
cat <&4
printf 'GET /slow HTTP/1.1\r\nHost: files.example:8443\r\nConnection: close\r\n\r\n' >&3; tail -n 1 <&3"#;

#[tokio::test]
async fn a_client_that_is_slow_to_begin_on_a_port_of_its_own_is_answered() {
    if !can_watch("a_client_that_is_slow_to_begin_on_a_port_of_its_own_is_answered") {
        return;
    }
    let (_, seen) = run(full_site().await, SLOW).await;
    let told: Vec<_> = seen.asked.iter().map(|a| (a.url.as_str(), a.status, a.refused.as_deref())).collect();
    assert_eq!(told, [("http://files.example:8443/slow", Some(200), None)], "{:#?}", seen.log);
    assert!(seen.text().contains("refused: 192.0.2.1:22"), "{}", seen.text());
}

const PACKAGE: &str = r#"
export npm_package_name=esbuild npm_package_version=0.21.5
bash -c "exec 3<>/dev/tcp/files.example/80
printf 'GET /%s HTTP/1.1\r\nHost: files.example\r\nX-Cofferdam-Asked-By: me\r\nConnection: close\r\n\r\n' tool >&3
grep -q '^by bash for esbuild@0.21.5$' <&3"
exec 4<>/dev/tcp/files.example/22; cat <&4 || true"#;

#[tokio::test]
async fn the_site_and_the_log_know_for_which_package_it_was_asked() {
    if !can_watch("the_site_and_the_log_know_for_which_package_it_was_asked") {
        return;
    }
    let (exit, seen) = run(full_site().await, PACKAGE).await;
    assert_eq!(exit, Exit::Code(0), "{:#?}", seen.log);
    assert_eq!(seen.json()["addresses"][0]["by"], "bash for esbuild@0.21.5");
    assert!(seen.text().contains("refused: files.example:22"), "{}", seen.text());
}

const ENDLESS: &str = r#"
exec 3<>/dev/tcp/files.example/80; printf 'GET /endless HTTP/1.1\r\nHost: files.example\r\n\r\n' >&3
cat <&3 >$TO"#;

/// Bytes of memory that this process holds.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn an_endless_answer_ends_with_the_time_of_its_build_and_is_held_nowhere() {
    if !can_watch("an_endless_answer_ends_with_the_time_of_its_build_and_is_held_nowhere") {
        return;
    }
    let before = memory();
    let limits = Limits { wall: Some(Duration::from_secs(2)), ..Limits::default() };
    let (exit, seen) = limited(endless_site().await, &ENDLESS.replace("$TO", "/dev/null"), limits).await;
    assert_eq!(exit, Exit::TimedOut);
    let [asked] = &seen.asked[..] else { panic!("{seen:#?}") };
    let why = format!("broken off after {} bytes of the answer", asked.bytes);
    assert_eq!(asked.refused.as_deref(), Some(why.as_str()));
    let passed = asked.bytes >> 20;
    assert!(passed >= 16, "{passed} MiB passed");
    // What other stories hold meanwhile is allowed for; all that passed is far more on any machine.
    let grown = memory().saturating_sub(before) >> 20;
    assert!(grown < 64, "{grown} MiB were held of {passed} that passed");
}

#[tokio::test]
async fn an_endless_answer_fills_no_more_than_a_file_may_hold() {
    if !can_watch("an_endless_answer_fills_no_more_than_a_file_may_hold") {
        return;
    }
    let script =
        format!("({}); exec test $(stat -c %s /tmp/big) = 1000000", ENDLESS.replace("$TO", "/tmp/big"));
    let limits = Limits { max_file_size: Some(1_000_000), ..Limits::default() };
    let (exit, seen) = limited(endless_site().await, &script, limits).await;
    assert_eq!(exit, Exit::Code(0));
    assert!(seen.asked[0].refused.as_deref().is_some_and(|why| why.starts_with("broken off")), "{seen:#?}");
    assert!(seen.asked[0].bytes < 64 << 20, "{} bytes left the site", seen.asked[0].bytes);
}

/// A daemon that holds a connection, and one that asks for ever.
const STAYING: &str = r#"
exec 3<>/dev/tcp/files.example/80; setsid sleep 1000 &
setsid bash -c 'while :; do exec 4<>/dev/tcp/files.example/80; echo -en "GET / HTTP/1.1\r\nHost: files.example\r\n\r\n" >&4; cat <&4; done' &
exec 5<>/dev/tcp/files.example/80
printf 'GET /mine HTTP/1.1\r\nHost: files.example\r\nConnection: close\r\n\r\n' >&5; grep -q nobody <&5; exit 3"#;

#[tokio::test]
async fn what_is_left_behind_cannot_go_on_asking() {
    if !can_watch("what_is_left_behind_cannot_go_on_asking") {
        return;
    }
    let asked = watch::Sender::new(0);
    let counting = asked.clone();
    let answer = move || {
        counting.send_modify(|count| *count += 1);
        async { ([("x-cofferdam-digest", "sha256:00")], "kept\n") }
    };
    let (exit, seen) = run(site(Router::new().fallback(answer)).await, STAYING).await;
    assert_eq!(exit, Exit::Code(3));
    // The site is asked no more often than was told: nobody is left who could.
    let reached = *asked.borrow();
    let told = seen.asked.len() as u64 + seen.more;
    assert!((1..=told).contains(&reached), "{reached} of {told}");
    assert!(seen.asked.iter().any(|a| a.url.ends_with("/mine") && a.refused.is_none()), "{seen:#?}");
}
