//! What a run did with its network is told, all of it.

use std::net::SocketAddr;

use axum::Router;
use axum::http::HeaderMap;
use cofferdam_runner::{Seen, SiteDoor, Target, Watched};
use cofferdam_sandbox::{Exit, SandboxSpec};
use tokio::net::TcpListener;

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

/// Runs a script to its end beside a site.
async fn run(site: SocketAddr, script: &str) -> (Exit, Seen) {
    let door = SiteDoor { listen: "127.0.0.1:8080".parse().unwrap(), to: Target::Tcp(site) };
    let watched = Watched::new(door, "token").unwrap();
    let trust = tempfile::tempdir().unwrap();
    let mut spec = SandboxSpec::new(["bash", "-c", script]);
    spec.env = vec![("PATH".into(), std::env::var_os("PATH").unwrap())];
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
    assert!(seen.text().contains("refused: 192.0.2.1:22 by bash"), "{}", seen.text());
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
    assert!(seen.text().contains("refused: files.example:22 by bash, once"), "{}", seen.text());
}
