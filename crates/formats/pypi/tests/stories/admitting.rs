//! What comes out of a transfer is believed in nothing that its bytes can say.

use cofferdam_format_kit::{
    Change, DoorExt as _, Draft, DraftFile, Format as _, conformance::MemoryRepository,
};
use cofferdam_format_pypi::PyPi;
use cofferdam_types::{ErrorKind, Timestamp};
use serde_json::json;

use crate::bytes::{metadata, mirror, page, sdist, wheel};

/// What a cheat does to an honest claim.
type Lie = Box<dyn Fn(&mut Draft)>;

const WHEEL: &str = "files/foo/foo-1.0-py3-none-any.whl";

async fn stored(repository: &MemoryRepository, path: &str, role: &str, bytes: Vec<u8>) -> DraftFile {
    let digests = repository.put_bytes(bytes.into()).await.unwrap();
    let meta = json!({ "upload_time": "2020-02-03T04:05:06.789Z", "requires_python": "a lie" });
    DraftFile { path: path.into(), role: role.into(), digests, meta }
}

async fn claim(repository: &MemoryRepository) -> Draft {
    let files = vec![
        stored(repository, WHEEL, "wheel", wheel("foo", "1.0")).await,
        stored(repository, &format!("{WHEEL}.metadata"), "metadata", metadata("foo", "1.0").into_bytes())
            .await,
        stored(repository, "files/foo/foo-1.0.tar.gz", "sdist", sdist("foo", "1.0")).await,
    ];
    Draft {
        package: "foo".into(),
        display: "Foo".into(),
        version: "1.0".into(),
        meta: json!({ "summary": "a lie" }),
        files,
        pointers: Vec::new(),
        published: Timestamp::parse("2020-02-03T04:05:06Z"),
        yanked: Some("broken".into()),
    }
}

#[tokio::test]
async fn an_honest_claim_is_admitted_with_facts_from_the_bytes() {
    let repository = mirror();
    let claim = claim(&repository).await;
    let draft = PyPi.admit(&claim, &repository).await.unwrap();
    assert_eq!(draft.meta["summary"], "A <small> & tidy thing");
    assert_eq!((draft.published, &draft.yanked), (claim.published, &claim.yanked));
    repository.commit(&PyPi, &[Change::Release(draft)]).await.unwrap();
    let page = page(&repository, "foo").await;
    assert_eq!(page["files"].as_array().unwrap().len(), 2);
    for file in page["files"].as_array().unwrap() {
        assert_eq!(file["requires-python"], ">=3.8,<4", "the bytes say so, whatever the claim says");
        assert_eq!(file["upload-time"], "2020-02-03T04:05:06.789Z");
        assert_eq!(file["yanked"], "broken");
    }
}

#[tokio::test]
async fn a_wheel_that_came_without_its_metadata_gets_it_from_its_bytes() {
    let repository = mirror();
    let mut claim = claim(&repository).await;
    claim.files.retain(|f| f.role == "wheel");
    let draft = PyPi.admit(&claim, &repository).await.unwrap();
    assert_eq!(draft.files.iter().map(|f| f.role.as_str()).collect::<Vec<_>>(), ["wheel", "metadata"]);
}

#[tokio::test]
async fn every_lie_is_refused() {
    let repository = mirror();
    let honest = claim(&repository).await;
    let forged =
        stored(&repository, &format!("{WHEEL}.metadata"), "metadata", b"Name: evil\n".to_vec()).await;
    let other = stored(&repository, WHEEL, "wheel", wheel("bar", "1.0")).await;
    let lies: Vec<(&str, Lie)> = vec![
        ("package", Box::new(|d| d.package = "bar".into())),
        ("spelling", Box::new(|d| d.package = "Foo".into())),
        ("display", Box::new(|d| d.display = "other".into())),
        ("version", Box::new(|d| d.version = "2.0".into())),
        ("pointer", Box::new(|d| d.pointers.push("latest".into()))),
        ("role", Box::new(|d| d.files[0].role = "sdist".into())),
        ("path", Box::new(|d| d.files[0].path = "files/bar/foo-1.0-py3-none-any.whl".into())),
        ("escape", Box::new(|d| d.files[0].path = "files/foo/../foo-1.0-py3-none-any.whl".into())),
        ("digest", Box::new(|d| d.files[0].digests.md5 = "0".repeat(32))),
        ("metadata", Box::new(move |d| d.files[1] = forged.clone())),
        ("bytes", Box::new(move |d| d.files[0] = other.clone())),
        ("metadata alone", Box::new(|d| d.files.retain(|f| f.role == "metadata"))),
        ("nothing", Box::new(|d| d.files.clear())),
    ];
    for (what, lie) in lies {
        let mut claim = honest.clone();
        lie(&mut claim);
        let error = PyPi.admit(&claim, &repository).await.expect_err(what);
        assert!(
            matches!(error.kind(), ErrorKind::VerificationFailed | ErrorKind::Invalid),
            "{what}: {error:?}"
        );
    }
    assert_eq!(repository.package_count(), 0);
}
