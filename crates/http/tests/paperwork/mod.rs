//! A transfer officer does the paperwork of a crossing in a browser, and nobody else does it for them.

use axum::body::Body;
use cofferdam_access::Role;
use cofferdam_crossing::RECORDING_PREDICATE;
use cofferdam_format_kit::{Draft, DraftFile};
use cofferdam_store::TransferRow;
use cofferdam_transfer::receipt::{About, Outcome, Receipt, Want, Wants};
use cofferdam_trust::{Envelope, SigningKey, Statement, Subject, sign_statement};
use cofferdam_types::{Clock as _, Digests, Sha256, TransferId};
use http::{Request, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    ESCAPED,
    seeded::{Got, HOST, HOSTILE, World, item},
};

/// A form with a file and a pasted text, as a browser sends it.
async fn upload(world: &World, (from, path): (&str, &str), cookie: &str, [file, text]: [&str; 2]) -> Got {
    let part = |name: &str, more: &str, value: &str| {
        format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n{value}\r\n")
    };
    let body = part("file", "; filename=\"a.json\"", file) + &part("text", "", text) + "--edge--\r\n";
    let request = Request::post(path)
        .header(header::HOST, HOST)
        .header(header::COOKIE, cookie)
        .header("sec-fetch-site", from)
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=edge");
    world.send(request.body(Body::from(body)).unwrap()).await
}

/// The site `depot`, which is believed here; its key.
async fn depot(world: &World) -> SigningKey {
    let key = SigningKey::from_seed(&[20; 32]).unwrap();
    let mut tx = world.registry.db().write().await.unwrap();
    let now = world.clock.now();
    tx.crossing().trust("depot", &key.verifying_key().to_string(), "test", now).await.unwrap();
    tx.commit().await.unwrap();
    key
}

/// A transfer that was sent to the depot.
async fn sent(world: &World) -> TransferRow {
    let now = world.clock.now();
    let mut row = TransferRow {
        id: TransferId(0),
        direction: "sent".into(),
        stream: "inside+depot".into(),
        source: "inside".into(),
        epoch: 1,
        seq: 7,
        header_sha256: Sha256::of(b"a header"),
        digest: Sha256::of(b"a header"),
        state: "sent".into(),
        bytes: 1000,
        blobs: 3,
        created: now,
        at: now,
        actor: "person:olga".into(),
        published: None,
        suite: "sealed-1".into(),
        folder: "/srv/out/CT1-inside+depot-1-000007".into(),
        outcome: String::new(),
    };
    let mut tx = world.registry.db().write().await.unwrap();
    row.id = tx.crossing().insert_transfer(&row).await.unwrap();
    tx.crossing().insert_items(row.id, &[item(0, "release", "maps", json!({}), "ok")]).await.unwrap();
    tx.commit().await.unwrap();
    row
}

fn receipt(world: &World, row: &TransferRow, outcome: Outcome) -> Receipt {
    Receipt {
        site: "depot".parse().unwrap(),
        transfer: About {
            stream: row.stream.clone(),
            epoch: row.epoch,
            seq: row.seq,
            header_sha256: row.header_sha256,
        },
        outcome,
        at: world.clock.now(),
        inventory: None,
        unreadable: Vec::new(),
        refused: vec![("pkg:generic/x@1".into(), HOSTILE.into())],
        held: Vec::new(),
    }
}

fn text(envelope: &Envelope) -> String {
    String::from_utf8(envelope.to_json().unwrap()).unwrap()
}

async fn medium(world: &World, officer: &str, form: &str) -> Got {
    world.post("/media", officer, form).await
}

#[tokio::test]
async fn a_medium_is_registered_handed_over_and_its_way_is_told() {
    let Some(world) = World::new(false, "http").await else { return };
    let olga = world.person("olga", &[Role::Officer]).await;
    world.transfer(1, (olga, "person:olga"), &[]).await;
    let officer = world.session("otto", &[Role::Officer]).await;
    let page = world.get("/media", &officer).await.text;
    assert!(page.contains("No media are registered yet") && page.contains("Register</button>"), "{page}");

    let form = "serial=S%2F4711&state=written&holder=the+safe&transfer=1&label=berth+%3Cscript%3E&files=v000001.ctv%0D%0Ap000001.ctp";
    let got = medium(&world, &officer, form).await;
    assert_eq!((got.status, got.header("location")), (StatusCode::SEE_OTHER, "/media/S%2F4711"));
    let form = "state=handed-over&holder=Carla+%3Cscript%3E";
    let got = world.post("/media/S%2F4711", &officer, form).await;
    assert_eq!(got.status, StatusCode::SEE_OTHER, "{}", got.text);

    let page = world.get("/media/S%2F4711", &officer).await.text;
    let (_, chain) = page.split_once("Chain of custody").unwrap();
    let (first, second) = (chain.find("written").unwrap(), chain.find("handed-over").unwrap());
    assert!(first < second && chain.contains("the safe") && chain.contains("person:otto"), "{page}");
    assert!(
        page.contains(&format!("Carla {ESCAPED}")) && page.contains(&format!("berth {ESCAPED}")),
        "{page}"
    );
    assert!(page.contains("v000001.ctv"), "the files stay as they were: {page}");

    let shown = |path: &'static str| world.get(path, &officer);
    assert!(shown("/media?state=handed-over&transfer=1").await.text.contains("S/4711"));
    assert!(shown("/media?state=lost").await.text.contains("No medium is like that"));
    assert_eq!(shown("/media?transfer=x").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(shown("/media/none").await.status, StatusCode::NOT_FOUND);
    let transfer = shown("/transfers/1").await.text;
    assert!(
        transfer.contains("/media/S%2F4711") && transfer.contains("/media?transfer=1#register"),
        "{transfer}"
    );

    world.post("/media/S%2F4711", &officer, "state=destroyed&holder=the+shredder").await;
    let page = shown("/media/S%2F4711").await.text;
    assert!(page.contains("the shredder") && !page.contains("Write it down</button>"), "{page}");
    assert_eq!(
        world.post("/media/S%2F4711", &officer, "state=written&holder=x").await.status,
        StatusCode::CONFLICT
    );
}

#[tokio::test]
async fn what_was_typed_stays_in_the_form_when_a_medium_is_refused() {
    let Some(world) = World::new(false, "http").await else { return };
    let officer = world.session("otto", &[Role::Officer]).await;
    for (form, why, status) in [
        ("serial=A1&state=written&holder=Kim&transfer=99", "there is no transfer 99", StatusCode::NOT_FOUND),
        ("serial=A1&state=written&holder=Kim", "not in the register", StatusCode::NOT_FOUND),
        ("serial=A1&state=gone&holder=Kim&transfer=1", "cannot be `gone`", StatusCode::BAD_REQUEST),
        ("serial=A1&state=written&holder=+&transfer=1", "who has the medium", StatusCode::BAD_REQUEST),
        ("serial=A1&state=written&holder=Kim&transfer=one", "by its number", StatusCode::BAD_REQUEST),
    ] {
        let got = medium(&world, &officer, form).await;
        assert_eq!(got.status, status, "{form}: {}", got.text);
        assert!(got.text.contains(why) && got.text.contains("role=\"alert\""), "{form}: {}", got.text);
        assert!(got.text.contains("value=\"A1\""), "{form}: {}", got.text);
    }
}

#[tokio::test]
async fn only_officers_write_and_no_form_from_elsewhere_does() {
    let Some(world) = World::new(false, "http").await else { return };
    let olga = world.person("olga", &[Role::Officer]).await;
    world.transfer(1, (olga, "person:olga"), &[]).await;
    sent(&world).await;
    let officer = world.session("otto", &[Role::Officer]).await;
    let auditor = world.session("dora", &[Role::Auditor]).await;
    medium(&world, &officer, "serial=A1&state=written&holder=Kim&transfer=1").await;
    world.post("/wants", &officer, "format=generic&package=maps").await;
    let forms = ["/media", "/media/A1", "/wants/request", "/transfers/1/receipt"];
    let form = "serial=A1&state=lost&holder=Eve&transfer=1&format=generic&package=eve&level=0";
    let uploads = ["/wants/take", "/transfers/2/take-receipt"];
    for path in forms {
        assert_eq!(world.post(path, &auditor, form).await.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(world.post(path, "", form).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    for path in uploads {
        let got = upload(&world, ("same-origin", path), &auditor, ["{}", ""]).await;
        assert_eq!(got.status, StatusCode::FORBIDDEN, "{path}");
    }
    for from in ["cross-site", "same-site", "none"] {
        for path in forms.iter().chain(&["/wants"]) {
            let got = world.post_from(from, path, &officer, form).await;
            assert!(
                got.status == StatusCode::FORBIDDEN && got.text.contains("not sent from this site"),
                "{path}"
            );
        }
        for path in uploads {
            let got = upload(&world, (from, path), &officer, ["{}", ""]).await;
            assert!(
                got.status == StatusCode::FORBIDDEN && got.text.contains("not sent from this site"),
                "{path}"
            );
        }
    }
    let media = world.get("/media", &auditor).await.text;
    assert!(
        media.contains("Kim") && !media.contains("Eve") && !media.contains("Register</button>"),
        "{media}"
    );
    let wants = world.get("/wants", &auditor).await.text;
    assert!(
        wants.contains("maps") && !wants.contains("eve") && !wants.contains("Sign and download"),
        "{wants}"
    );
    assert!(wants.contains("<span class=\"badge wait\">open</span>"), "nothing was sent: {wants}");
    for path in ["/transfers/1", "/transfers/2"] {
        let page = world.get(path, &auditor).await.text;
        assert!(!page.contains("Give a receipt") && !page.contains("Take the receipt"), "{page}");
    }
}

#[tokio::test]
async fn what_people_miss_leaves_as_a_signed_file() {
    let Some(world) = World::new(false, "http").await else { return };
    let (dev, officer) =
        (world.session("dan", &[Role::Developer]).await, world.session("otto", &[Role::Officer]).await);
    let empty = world.get("/wants", &officer).await.text;
    assert!(empty.contains("Nothing is wanted") && !empty.contains("Sign and download"), "{empty}");
    let early = world.post("/wants/request", &officer, "").await;
    assert!(
        early.status == StatusCode::CONFLICT && early.text.contains("nothing is wanted"),
        "{}",
        early.text
    );

    let form = "format=generic&package=maps&version=&note=for+%3Cscript%3E";
    let got = world.post("/wants", &dev, form).await;
    assert_eq!((got.status, got.header("location")), (StatusCode::SEE_OTHER, "/wants"), "{}", got.text);
    let got = world.post("/wants", &dev, "format=cobol&package=old").await;
    assert!(got.status == StatusCode::BAD_REQUEST && got.text.contains("value=\"old\""), "{}", got.text);
    let page = world.get("/wants", &dev).await.text;
    assert!(page.contains(&format!("for {ESCAPED}")) && page.contains("person:dan"), "{page}");
    assert!(!page.contains("Sign and download"), "a developer carries nothing out: {page}");

    let got = world.post("/wants/request", &officer, "").await;
    assert_eq!((got.status, got.header("content-type")), (StatusCode::OK, "application/json"));
    assert_eq!(got.header("content-disposition"), "attachment; filename=\"wants-inside.json\"");
    let envelope = Envelope::from_json(got.text.as_bytes()).unwrap();
    let key = SigningKey::from_seed(&[9; 32]).unwrap().verifying_key();
    assert_eq!(Wants::read(&envelope, &[key]).unwrap().items[0].package, "maps");
    assert!(world.get("/wants?state=sent", &dev).await.text.contains("maps"));
    assert!(world.get("/wants?state=open", &dev).await.text.contains("No want is like that"));
}

#[tokio::test]
async fn another_sites_request_is_taken_when_it_signed_it() {
    let Some(world) = World::new(false, "http").await else { return };
    let officer = world.session("otto", &[Role::Officer]).await;
    let key = depot(&world).await;
    let want = Want {
        format: "generic".into(),
        package: "maps".into(),
        version: String::new(),
        asked: 12,
        note: HOSTILE.into(),
    };
    let wants = Wants { site: "depot".parse().unwrap(), at: world.clock.now(), items: vec![want] };
    let forged = text(&wants.sign(&SigningKey::from_seed(&[99; 32]).unwrap()).unwrap());
    for (given, why, status) in [
        (forged.as_str(), "signature", StatusCode::UNPROCESSABLE_ENTITY),
        ("not a statement", "", StatusCode::UNPROCESSABLE_ENTITY),
        ("", "nothing was given", StatusCode::BAD_REQUEST),
    ] {
        let got = upload(&world, ("same-origin", "/wants/take"), &officer, [given, ""]).await;
        assert_eq!(got.status, status, "{given}: {}", got.text);
        assert!(got.text.contains("role=\"alert\"") && got.text.contains(why), "{given}: {}", got.text);
    }
    let good = text(&wants.sign(&key).unwrap());
    let got = upload(&world, ("same-origin", "/wants/take"), &officer, ["", &good]).await;
    assert_eq!((got.status, got.header("location")), (StatusCode::SEE_OTHER, "/wants?site=depot"));
    let page = world.get("/wants?site=depot", &officer).await.text;
    assert!(page.contains("<td class=\"num\">12</td>") && page.contains(ESCAPED), "{page}");
}

#[tokio::test]
async fn a_receipt_is_given_printed_and_carried() {
    let Some(world) = World::new(false, "http").await else { return };
    let olga = world.person("olga", &[Role::Officer]).await;
    let (id, _) = world.transfer(1, (olga, "person:olga"), &[]).await;
    let officer = world.session("otto", &[Role::Officer]).await;
    assert!(world.get("/transfers/1", &officer).await.text.contains("No receipt was given"));
    let got = world.post("/transfers/1/receipt", &officer, "level=1").await;
    assert_eq!((got.status, got.header("location")), (StatusCode::SEE_OTHER, "/transfers/1#receipts"));

    let file = world.get("/transfers/1/receipt/1/file", &officer).await;
    assert_eq!(
        file.header("content-disposition"),
        "attachment; filename=\"receipt-outside-to-inside-1-000001.json\""
    );
    let key = SigningKey::from_seed(&[9; 32]).unwrap();
    let envelope = Envelope::from_json(file.text.as_bytes()).unwrap();
    let says = Receipt::read(&envelope, &[key.verifying_key()]).unwrap();
    assert_eq!((says.outcome, says.inventory.map(|i| i.count)), (Outcome::Quarantined, Some(0)));

    // Looking at the page is no act: it may be printed twice, and nobody signs anything by it.
    let auditor = world.session("dora", &[Role::Auditor]).await;
    let paper = world.get("/transfers/1/receipt/1", &auditor).await;
    assert_eq!(paper.text, world.get("/transfers/1/receipt/1", &officer).await.text);
    assert!(paper.text.contains("<svg") && paper.text.contains("quarantined"), "{}", paper.text);
    for line in cofferdam_trust::words::encode(&says.compact(&key)) {
        assert!(paper.text.contains(&line), "{line}");
    }
    let policy = paper.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(paper.header("cache-control"), "no-store");
    let kept = world.registry.db().read().await.unwrap().carry().receipts(id).await.unwrap();
    assert_eq!(kept.len(), 1);
    for path in ["/transfers/1/receipt/9", "/transfers/2/receipt/1", "/transfers/1/receipt/9/file"] {
        assert_eq!(world.get(path, &officer).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(world.get("/transfers/1/receipt/1", "").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_receipt_is_taken_as_a_file_and_as_words_and_what_was_wanted_is_filled() {
    let Some(world) = World::new(false, "http").await else { return };
    let officer = world.session("otto", &[Role::Officer]).await;
    let (key, row) = (depot(&world).await, sent(&world).await);
    let mut tx = world.registry.db().write().await.unwrap();
    let want = cofferdam_store::NewWant {
        site: "depot",
        format: "generic",
        package: "maps",
        version: "",
        asked: 1,
        note: "",
        actor: "site:depot",
    };
    tx.carry().want(want, row.at).await.unwrap();
    let open = tx.carry().unfilled_wants("depot", 0, 9).await.unwrap();
    assert_eq!(tx.carry().move_wants(&[open[0].id], "packed", row.id).await.unwrap(), 1);
    tx.commit().await.unwrap();

    let there = ("same-origin", "/transfers/1/take-receipt");
    let quarantined = receipt(&world, &row, Outcome::Quarantined);
    let forged = text(&quarantined.sign(&SigningKey::from_seed(&[99; 32]).unwrap()).unwrap());
    let got = upload(&world, there, &officer, [&forged, ""]).await;
    assert_eq!(got.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", got.text);
    assert!(got.text.contains("role=\"alert\"") && got.text.contains("No receipt has come"), "{}", got.text);

    let file = text(&quarantined.sign(&key).unwrap());
    let got = upload(&world, there, &officer, [&file, ""]).await;
    assert_eq!((got.status, got.header("location")), (StatusCode::SEE_OTHER, "/transfers/1#receipts"));
    let page = world.get("/transfers/1", &officer).await.text;
    assert!(page.contains("quarantined") && page.contains(ESCAPED), "what was refused is told: {page}");
    assert!(world.get("/wants", &officer).await.text.contains("packed"));

    // Over the telephone, with the line ends of a browser's text field.
    world.clock.advance(std::time::Duration::from_secs(120));
    let published = receipt(&world, &row, Outcome::Published);
    let lines = cofferdam_trust::words::encode(&published.compact(&key)).join("\r\n");
    let wrong = lines.replacen(lines.split_whitespace().nth(1).unwrap(), "zebra", 1);
    let got = upload(&world, there, &officer, ["", &wrong]).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST, "{}", got.text);
    let got = upload(&world, there, &officer, ["", &lines]).await;
    assert_eq!(got.status, StatusCode::SEE_OTHER, "{}", got.text);
    let wants = world.get("/wants", &officer).await.text;
    assert!(wants.contains("filled") && wants.contains("<a href=\"/transfers/1\">1</a>"), "{wants}");
    let second = world.get("/transfers/1/receipt/2/file", &officer).await;
    assert_eq!(second.status, StatusCode::NOT_FOUND, "it came as words");
}

/// A claim of a file, and the digest in it.
fn claim() -> (Value, Sha256) {
    let sha256 = Sha256::of(b"a tool");
    let digests = Digests {
        sha256,
        size: 6,
        sha512: String::new(),
        sha1: String::new(),
        md5: String::new(),
        blake2b_256: String::new(),
    };
    let file =
        DraftFile { path: "tools/1.0/tool.bin".into(), role: "file".into(), digests, meta: Value::Null };
    let draft = Draft {
        package: "tools/1.0".into(),
        display: "tools/1.0".into(),
        version: "1.0".into(),
        meta: Value::Null,
        files: vec![file],
        pointers: Vec::new(),
        published: None,
        yanked: None,
    };
    (json!({ "repository": "files", "draft": draft }), sha256)
}

#[tokio::test]
async fn each_release_has_its_evidence_beside_it() {
    let Some(world) = World::new(false, "http").await else { return };
    let olga = world.person("olga", &[Role::Officer]).await;
    world.packages().await;
    let (claim, sha256) = claim();
    let predicate = json!({
        "command": HOSTILE, "site": "outside", "recording": 4, "rehearsed": "2026-01-01T00:00:00Z", "exitCode": 0,
        "network": { "how": "no route", "outside": 0 }, "used": ["pkg:generic/tools/1.0@1.0"], "askedInVain": [],
    });
    let subject = Subject::sha256("collection:berth", Sha256::of(b"collected"));
    let statement = Statement::new(vec![subject], RECORDING_PREDICATE, predicate);
    let envelope = sign_statement(&statement, &[&SigningKey::from_seed(&[20; 32]).unwrap()]).unwrap();
    let items = [
        item(0, "release", "tools/1.0", claim, "ok"),
        item(1, "release", "unasked", json!({}), "ok"),
        item(2, "statement", "", serde_json::from_str(&text(&envelope)).unwrap(), "ok"),
    ];
    world.transfer(1, (olga, "person:olga"), &items).await;
    let dev = world.session("dan", &[Role::Developer]).await;
    world.post("/wants", &dev, "format=generic&package=tools/1.0&note=the+harbour+map").await;

    let page = world.get("/transfers/1", &dev).await.text;
    let (before, rest) = page.split_once("pkg:generic/tools/1.0@1.0").unwrap();
    assert!(before.contains("/repositories/files/package/tools/1.0\""), "its package is here: {page}");
    assert!(before.contains("<a href=\"#rehearsal-1\">") && page.contains("id=\"rehearsal-1\""), "{page}");
    assert!(rest.contains(&sha256.to_hex()) && rest.contains("tools/1.0/tool.bin"), "{page}");
    assert!(rest.contains("person:dan at inside, asked once: the harbour map"), "{page}");
    assert!(page.contains(&Sha256::of(b"collected").to_hex()) && page.contains("berth"), "{page}");
    assert!(page.contains("not rehearsed") && page.contains(ESCAPED) && !page.contains("<script>"), "{page}");

    let json = world.get("/api/v1/transfers/1/difference", &dev).await.text;
    let json: Value = serde_json::from_str(&json).unwrap();
    let line = json["updated"].as_array().unwrap().iter().find(|l| l["package"] == "tools/1.0").unwrap();
    assert_eq!(line["files"][0]["sha256"], sha256.to_hex());
    assert_eq!((&line["rehearsals"], &line["here"]), (&json!([0]), &json!(true)));
    assert_eq!(line["wanted"][0]["note"], "the harbour map");
    assert_eq!(json["rehearsals"][0]["recording"], "berth");
}
