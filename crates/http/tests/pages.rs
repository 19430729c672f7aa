//! People look at a site with a browser, and somebody hostile would like to use them for it.

mod paperwork;
mod seeded;

use axum::body::Body;
use cofferdam_access::Role;
use cofferdam_store::TokenOwner;
use http::{Request, StatusCode, header};
use seeded::{HOST, HOSTILE, PASSWORD, World, item};
use serde_json::{Value, json};
use tower::ServiceExt as _;

const ESCAPED: &str = "&#60;script&#62;";

async fn full(anonymous_read: bool) -> Option<World> {
    let world = World::new(anonymous_read, "http").await?;
    let olga = world.person("olga", &[Role::Officer, Role::Approver]).await;
    let refs = json!({ "refs/heads/main": "2222222222222222222222222222222222222222" });
    let items = [
        item(0, "release", "tools", json!({}), "ok"),
        item(1, "release", HOSTILE, json!({}), "the name is no name"),
        item(2, "git", "", json!({ "refs": refs }), "ok"),
    ];
    world.transfer(1, (olga, "person:olga"), &items).await;
    world.paperwork().await;
    world.packages().await;
    world.recording().await;
    world.job("\u{1b}[32mhello\u{1b}[0m <script>alert(1)</script>\n").await;
    Some(world)
}

const PAGES: [&str; 17] = [
    "/transfers",
    "/media",
    "/media/%3Cscript%3E",
    "/wants",
    "/transfers/1",
    "/repositories",
    "/repositories/files",
    "/repositories/files?q=tool",
    "/repositories/files/package/tools/1.0",
    "/repositories/files/package/",
    "/recordings",
    "/recordings/1",
    "/projects",
    "/projects/team/tool",
    "/pipelines/1",
    "/jobs/1",
    "/audit",
];

#[tokio::test]
async fn an_auditor_sees_every_page_and_nothing_in_it_runs() {
    let Some(world) = full(false).await else { return };
    let auditor = world.session("dora", &[Role::Auditor]).await;
    for path in PAGES.iter().chain(&["/", "/login"]) {
        let got = world.get(path, &auditor).await;
        assert_eq!(got.status, StatusCode::OK, "{path}: {}", got.text);
        assert!(got.header("content-type").starts_with("text/html"), "{path}");
        assert!(
            got.header("content-security-policy").starts_with("default-src 'none'; style-src 'self'"),
            "{path}"
        );
        assert!(got.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(got.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(got.header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(got.header("cache-control"), "no-store", "{path}");
        assert!(got.text.contains("isolated") && got.text.contains("dora"), "{path}");
        for bad in ["<script>", "<b>bold", " style=", "onclick", "javascript:"] {
            assert!(!got.text.contains(bad), "{path} has {bad}: {}", got.text);
        }
        assert!(!got.text.contains("Approve</button>") && !got.text.contains("Publish</button>"), "{path}");
    }
    let shown = |path: &'static str| world.get(path, &auditor);
    assert!(shown("/transfers/1").await.text.contains(ESCAPED));
    assert!(shown("/media").await.text.contains(ESCAPED));
    assert!(shown("/media/%3Cscript%3E").await.text.contains(ESCAPED));
    assert!(shown("/wants").await.text.contains(ESCAPED));
    assert!(shown("/recordings/1").await.text.contains(ESCAPED));
    assert!(shown("/pipelines/1").await.text.contains(ESCAPED));
    let job = shown("/jobs/1").await.text;
    assert!(job.contains("<span class=\" c2\">hello</span> &lt;script&gt;"), "{job}");
    let wanted =
        ["action=\"/wants\"", "name=\"format\" value=\"generic\"", "name=\"package\" value=\"lost\""];
    assert!(
        wanted.iter().all(|part| job.contains(part)),
        "what it asked for in vain is wanted by one click: {job}"
    );
    assert!(job.contains("data-follow=\"/api/v1/jobs/1/log?follow=1&amp;offset=41\""), "{job}");
    assert!(job.contains("<noscript><meta http-equiv=\"refresh\""), "{job}");
    assert!(job.contains("pkg:generic/tools@1.0"), "{job}");
}

#[tokio::test]
async fn a_recording_shows_security_first_and_says_what_nobody_judged() {
    let Some(world) = full(false).await else { return };
    let auditor = world.session("dora", &[Role::Auditor]).await;
    let before = world.get("/recordings/1", &auditor).await.text;
    assert!(
        before.contains("not judged</span> 1 of 1") && before.contains("collect first --advisories"),
        "{before}"
    );
    let json = world.get("/api/v1/recordings/1/judgement", &auditor).await.text;
    assert!(json.contains("nobody has compared it"), "{json}");

    let advisory = |id: &str, severity: &str, more: Value| {
        let mut all = json!({
            "id": id, "severity": severity, "score": 9.8, "summary": "<b>bold</b>", "source": "https://feeds.example/all.zip",
        });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let (purl, release) = ("pkg:generic/tools@1.0", "pkg:golang/x.org/tools@v1.0.0");
    let told = json!({
        "feeds": [{ "feed": "https://feeds.example/all.zip", "advisories": 3, "newest": "2026-01-01", "unread": 1 }],
        "affected": [advisory("X-1", "critical", json!({ "purl": purl, "release": release, "fix": "v1.1.0" }))],
        "security": [advisory("X-2", "high", json!({ "package": "pkg:npm/a", "from": "1", "to": ["2"] }))],
        "judged": [purl],
    });
    let tell = async |roles: &[Role], name: &str| {
        let person = world.person(name, roles).await;
        let token = world.token(TokenOwner::Person(person)).await;
        let request = Request::post("/api/v1/recordings/1/judgement")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json");
        world.send(request.body(Body::from(told.to_string())).unwrap()).await.status
    };
    assert_eq!(tell(&[Role::Auditor], "rita").await, StatusCode::FORBIDDEN);
    assert_eq!(tell(&[Role::Officer], "otto").await, StatusCode::OK);
    let after = world.get("/recordings/1", &auditor).await.text;
    let at = |text: &str| after.find(text).unwrap_or_else(|| panic!("{text}: {after}"));
    assert!(at("X-2") < at("X-1"), "fixes first");
    for part in [
        "critical 9.8",
        "v1.1.0",
        "pkg:golang/x.org/tools@v1.0.0",
        "3 advisories, the newest of 2026-01-01, 1 not readable",
        "told by person:otto",
    ] {
        at(part);
    }
    assert!(!after.contains("<b>bold") && !after.contains("not judged</span>"), "{after}");
}

#[tokio::test]
async fn a_stranger_is_sent_to_the_login_and_sees_what_anybody_may() {
    let Some(world) = full(false).await else { return };
    for path in PAGES {
        let got = world.get(path, "").await;
        assert_eq!(got.status, StatusCode::SEE_OTHER, "{path}");
        assert!(got.header("location").starts_with("/login?next=%2F"), "{path}: {}", got.header("location"));
    }
    let got = world.get("/repositories/files?q=a%26b", "").await;
    assert_eq!(got.header("location"), "/login?next=%2Frepositories%2Ffiles%3Fq%3Da%2526b");
    let first = world.get("/", "cofferdam_session=old").await;
    assert_eq!(first.status, StatusCode::OK);
    assert!(!first.text.contains("outside-to-inside") && !first.text.contains("team/tool"), "{}", first.text);

    let Some(open) = full(true).await else { return };
    assert_eq!(open.get("/repositories/files", "").await.status, StatusCode::OK);
    assert_eq!(open.get("/transfers", "").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_told_on_a_page() {
    let Some(world) = full(false).await else { return };
    let dev = world.session("dan", &[Role::Developer]).await;
    for path in [
        "/transfers/99",
        "/transfers/x",
        "/jobs/99",
        "/repositories/none",
        "/repositories/files/package/none",
    ] {
        let got = world.get(path, &dev).await;
        assert_eq!(got.status, StatusCode::NOT_FOUND, "{path}");
        assert!(got.text.contains("<p class=\"status\">404</p>"), "{path}: {}", got.text);
    }
    let got = world.get("/audit", &dev).await;
    assert_eq!(got.status, StatusCode::FORBIDDEN);
    assert!(got.text.contains("needs the role admin or auditor"), "{}", got.text);
    assert_eq!(world.get("/transfers?before=x", &dev).await.status, StatusCode::BAD_REQUEST);
    let huge = format!("reason={}", "x".repeat(100_000));
    assert_eq!(world.post("/transfers/1/approve", &dev, &huge).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn logging_in_makes_a_session_and_logging_out_ends_it() {
    let Some(world) = World::new(false, "https").await else { return };
    let id = world.person("alice", &[Role::Auditor]).await;
    let form = format!("name=alice&password={}&next=%2Ftransfers", PASSWORD.replace(' ', "+"));
    let got = world.post("/login", "", &form).await;
    assert_eq!((got.status, got.header("location")), (StatusCode::SEE_OTHER, "/transfers"), "{}", got.text);
    let cookie = got.header("set-cookie").to_owned();
    assert!(cookie.starts_with("cofferdam_session=cfd_"), "{cookie}");
    for attribute in ["; Path=/", "; Max-Age=43200", "; HttpOnly", "; SameSite=Strict", "; Secure"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let session = cookie.split(';').next().unwrap();
    assert_eq!(world.get("/transfers", session).await.status, StatusCode::OK);

    let out = world.post("/logout", session, "").await;
    assert_eq!((out.status, out.header("location")), (StatusCode::SEE_OTHER, "/"));
    assert!(out.header("set-cookie").starts_with("cofferdam_session=; Path=/; Max-Age=0"));
    assert_eq!(
        world.get("/transfers", session).await.status,
        StatusCode::SEE_OTHER,
        "the token is dead, too"
    );

    // A session ends by itself, and a token is as good as a password, for people.
    let token = world.token(TokenOwner::Person(id)).await;
    let got = world.post("/login", "", &format!("token={token}&next=%2F%2Fevil.example")).await;
    assert_eq!((got.status, got.header("location")), (StatusCode::SEE_OTHER, "/"));
    let session = got.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(!session.ends_with(&token), "the session is a token of its own");
    world.clock.advance(std::time::Duration::from_secs(12 * 3600 + 1));
    assert_eq!(world.get("/transfers", &session).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_wrong_login_is_told_and_machines_have_none() {
    let Some(world) = World::new(false, "http").await else { return };
    world.person("alice", &[Role::Auditor]).await;
    let got = world.post("/login", "", "name=%3Cscript%3Ealice&password=guess").await;
    assert_eq!((got.status, got.header("set-cookie")), (StatusCode::UNAUTHORIZED, ""));
    assert!(
        got.text.contains("the name or the password is wrong") && got.text.contains(ESCAPED),
        "{}",
        got.text
    );
    let mut tx = world.registry.db().write().await.unwrap();
    let now = cofferdam_types::Timestamp(0);
    let recording = tx.crossing().insert_recording("r", "make", "test", now).await.unwrap();
    tx.commit().await.unwrap();
    let token = world.token(TokenOwner::Recording(recording)).await;
    let got = world.post("/login", "", &format!("token={token}")).await;
    assert_eq!((got.status, got.header("set-cookie")), (StatusCode::FORBIDDEN, ""));
}

#[tokio::test]
async fn a_form_from_elsewhere_does_nothing() {
    let Some(world) = World::new(false, "http").await else { return };
    let olga = world.person("olga", &[Role::Officer]).await;
    let (id, digest) = world.transfer(1, (olga, "person:olga"), &[]).await;
    let bob = world.session("bob", &[Role::Approver]).await;
    let vote = format!("digest={digest}&reason=");
    for site in ["cross-site", "same-site", "none"] {
        for path in
            ["/transfers/1/approve", "/transfers/1/reject", "/transfers/1/publish", "/login", "/logout"]
        {
            let got = world.post_from(site, path, &bob, &vote).await;
            assert_eq!(got.status, StatusCode::FORBIDDEN, "{site} {path}: {}", got.text);
            assert!(got.text.contains("not sent from this site"), "{}", got.text);
        }
    }
    let bare = Request::post(format!("/transfers/{id}/approve"))
        .header(header::HOST, HOST)
        .header(header::COOKIE, &bob)
        .header(header::ORIGIN, "http://evil.example")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    assert_eq!(world.send(bare.body(Body::from(vote)).unwrap()).await.status, StatusCode::FORBIDDEN);
    assert!(world.get("/transfers/1", &bob).await.text.contains("0 of 2 people"));
}

#[tokio::test]
async fn two_people_approve_on_the_page_and_the_one_who_asked_cannot() {
    let Some(world) = World::new(false, "http").await else { return };
    let id = world.person("olga", &[Role::Officer, Role::Approver]).await;
    let olga = format!("cofferdam_session={}", world.token(TokenOwner::Person(id)).await);
    let (_, digest) = world.transfer(1, (id, "person:olga"), &[]).await;
    let (bob, carol) =
        (world.session("bob", &[Role::Approver]).await, world.session("carol", &[Role::Approver]).await);
    let yes = format!("digest={digest}&reason={}", "looked+at+%3Cscript%3E");

    let page = world.get("/transfers/1", &olga).await.text;
    assert!(
        page.contains("two other people have to approve it") && !page.contains("Approve</button>"),
        "{page}"
    );
    let own = world.post("/transfers/1/approve", &olga, &yes).await;
    assert_eq!(own.status, StatusCode::FORBIDDEN);
    assert!(own.text.contains("role=\"alert\"") && own.text.contains("you asked for this"), "{}", own.text);

    let page = world.get("/transfers/1", &bob).await.text;
    assert!(page.contains("Approve</button>") && page.contains(&digest.to_hex()), "{page}");
    let stale = world.post("/transfers/1/approve", &bob, &format!("digest={}", "0".repeat(64))).await;
    assert!(stale.text.contains("it has changed since you looked at it"), "{}", stale.text);
    let got = world.post("/transfers/1/approve", &bob, &yes).await;
    assert_eq!((got.status, got.header("location")), (StatusCode::SEE_OTHER, "/transfers/1"));
    let twice = world.post("/transfers/1/approve", &bob, &yes).await;
    assert!(twice.text.contains("you have voted already"), "{}", twice.text);
    let early = world.post("/transfers/1/publish", &olga, "").await;
    assert_eq!(early.status, StatusCode::CONFLICT);
    assert!(early.text.contains("transfer:1 has 1 of 2 approvals"), "{}", early.text);

    assert_eq!(world.post("/transfers/1/approve", &carol, &yes).await.status, StatusCode::SEE_OTHER);
    let page = world.get("/transfers/1", &olga).await.text;
    assert!(page.contains("Publish</button>") && page.contains(&format!("looked at {ESCAPED}")), "{page}");
    assert_eq!(world.post("/transfers/1/publish", &olga, "").await.status, StatusCode::SEE_OTHER);
    assert!(
        world.get("/transfers", &olga).await.text.contains("<span class=\"badge good\">published</span>")
    );
}

/// Published half is not published: a client that hangs up must neither undo it nor leave histories without references.
#[tokio::test]
async fn a_publication_goes_on_when_its_client_leaves() {
    for path in ["/transfers/1/publish", "/api/v1/transfers/1/publish"] {
        let Some(world) = World::new(false, "http").await else { return };
        let officer = world.person("olga", &[Role::Officer]).await;
        let olga = format!("cofferdam_session={}", world.token(TokenOwner::Person(officer)).await);
        let bundle = bytes::Bytes::from_static(b"# v2 git bundle\n\n");
        let body = Box::pin(futures::stream::iter([Ok(bundle)]));
        let bundle = world.registry.blobs().put(body, 1000).await.unwrap().sha256;
        let history = item(0, "git", "", json!({ "refs": {}, "bundle": bundle }), "ok");
        let (id, digest) = world.transfer(1, (officer, "person:olga"), &[history]).await;
        for approver in ["bob", "carol"] {
            let approver = world.session(approver, &[Role::Approver]).await;
            let got = world.post("/transfers/1/approve", &approver, &format!("digest={digest}")).await;
            assert_eq!(got.status, StatusCode::SEE_OTHER, "{}", got.text);
        }

        world.hold.close();
        let request = Request::post(path)
            .header(header::HOST, HOST)
            .header(header::COOKIE, &olga)
            .header("sec-fetch-site", "same-origin")
            .body(Body::empty())
            .unwrap();
        let client = tokio::spawn(world.routes.clone().oneshot(request));
        world.hold.reached().await;
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled(), "the client is gone");
        world.hold.open();
        // There is one writer: it is free when the publication has ended, either way.
        drop(world.registry.db().write().await.unwrap());
        let mut tx = world.registry.db().read().await.unwrap();
        let row = tx.crossing().transfer(id).await.unwrap().unwrap();
        assert_eq!(row.state, "published", "{path}");
    }
}

#[tokio::test]
async fn one_no_on_the_page_ends_it() {
    let Some(world) = World::new(false, "http").await else { return };
    let olga = world.person("olga", &[Role::Officer]).await;
    let (_, digest) = world.transfer(1, (olga, "person:olga"), &[]).await;
    let bob = world.session("bob", &[Role::Approver]).await;
    let got = world.post("/transfers/1/reject", &bob, &format!("digest={digest}&reason=no")).await;
    assert_eq!(got.status, StatusCode::SEE_OTHER);
    assert!(world.get("/transfers/1", &bob).await.text.contains("<span class=\"badge bad\">rejected</span>"));
}

#[tokio::test]
async fn assets_are_kept_for_ever_under_their_hash() {
    let Some(world) = World::new(false, "http").await else { return };
    let page = world.get("/login", "").await.text;
    let at = page.find("/assets/style-").unwrap();
    let path = &page[at..at + page[at..].find('"').unwrap()];
    let got = world.get(path, "").await;
    assert_eq!((got.status, got.header("content-type")), (StatusCode::OK, "text/css; charset=utf-8"));
    assert!(got.header("cache-control").contains("immutable"));
    let again = Request::get(path).header(header::IF_NONE_MATCH, got.header("etag"));
    assert_eq!(world.send(again.body(Body::empty()).unwrap()).await.status, StatusCode::NOT_MODIFIED);
    assert_eq!(world.get("/assets/style-0.css", "").await.status, StatusCode::NOT_FOUND);
}
