//! Uploads: the good ones are served at once, the bad ones leave nothing behind.

use cofferdam_format_kit::{Body, Change, Format as _, View as _, conformance::digests_of};
use cofferdam_format_pypi::PyPi;
use cofferdam_types::{ErrorKind, Sha256};

use crate::bytes::{Form, hosted, metadata, mirror, page, sdist, send, tar_gz_of, wheel, wheel_with, zip_of};

#[tokio::test]
async fn an_uploaded_wheel_is_served_with_its_metadata_byte_for_byte() {
    let repository = hosted();
    let bytes = wheel("Foo.Bar", "1.0");
    let answer = Form::new("Foo.Bar", "1.0", "Foo.Bar-1.0-py3-none-any.whl", bytes.clone())
        .upload(&repository)
        .await
        .unwrap();
    assert_eq!(answer.status, 200);

    let page = page(&repository, "foo-bar").await;
    assert_eq!(page["name"], "foo-bar");
    assert_eq!(page["versions"], serde_json::json!(["1.0"]));
    let file = &page["files"][0];
    assert_eq!(file["url"], "../../files/foo-bar/Foo.Bar-1.0-py3-none-any.whl");
    assert_eq!(file["hashes"]["sha256"], Sha256::of(&bytes).to_hex());
    assert_eq!(file["size"], bytes.len());
    assert_eq!(file["requires-python"], ">=3.8,<4");
    assert_eq!(file["yanked"], false);

    let path = "/files/foo-bar/Foo.Bar-1.0-py3-none-any.whl";
    let (status, _, served) = repository.get(&PyPi, path, "*/*").await;
    assert_eq!((status.as_u16(), &served[..]), (200, &bytes[..]));
    let (status, _, served) = repository.get(&PyPi, &format!("{path}.metadata"), "*/*").await;
    assert_eq!((status.as_u16(), &served[..]), (200, metadata("Foo.Bar", "1.0").as_bytes()));
    assert_eq!(file["core-metadata"]["sha256"], Sha256::of(&served).to_hex());
    assert_eq!(file["core-metadata"], file["data-dist-info-metadata"]);
    assert_eq!(file.get("dist-info-metadata"), None, "pip 22.3 to 23.0 fails on it");
}

#[tokio::test]
async fn a_source_distribution_joins_the_release_of_its_wheel() {
    let repository = hosted();
    Form::wheel("foo", "1.0", wheel("foo", "1.0")).upload(&repository).await.unwrap();
    Form::new("foo", "1.0.0", "foo-1.0.0.tar.gz", sdist("foo", "1.0.0")).upload(&repository).await.unwrap();
    let page = page(&repository, "foo").await;
    assert_eq!(page["versions"], serde_json::json!(["1.0"]), "1.0 and 1.0.0 are one version");
    assert_eq!(page["files"].as_array().unwrap().len(), 2);
    let sdist =
        page["files"].as_array().unwrap().iter().find(|f| f["filename"] == "foo-1.0.0.tar.gz").unwrap();
    assert!(sdist.get("core-metadata").is_none(), "there is nothing beside a source distribution");
}

#[tokio::test]
async fn old_zip_source_distributions_are_taken() {
    let repository = hosted();
    let bytes = zip_of(&[("foo-1.0/PKG-INFO", &metadata("foo", "1.0")), ("foo-1.0/setup.py", "")]);
    Form::new("foo", "1.0", "foo-1.0.zip", bytes).upload(&repository).await.unwrap();
    assert_eq!(page(&repository, "foo").await["files"][0]["filename"], "foo-1.0.zip");
}

#[tokio::test]
async fn the_same_bytes_again_are_no_change_and_other_bytes_are_refused() {
    let repository = hosted();
    let first = Form::wheel("foo", "1.0", wheel("foo", "1.0"));
    first.upload(&repository).await.unwrap();
    assert_eq!(first.upload(&repository).await.unwrap().status, 200);

    let other = wheel_with("foo", "1.0", &metadata("foo", "1.0"), "print('something else')");
    let error = Form::wheel("foo", "1.0", other).upload(&repository).await.unwrap_err();
    let answer = PyPi.error(&error);
    assert_eq!(answer.status, 409);
    let Body::Bytes(text) = answer.body else { panic!("a text for twine") };
    assert!(String::from_utf8_lossy(&text).contains("File already exists"), "twine looks for these words");
    let (_, _, served) = repository.get(&PyPi, "/files/foo/foo-1.0-py3-none-any.whl", "*/*").await;
    assert_eq!(served, wheel("foo", "1.0"));
}

#[tokio::test]
async fn another_spelling_of_a_file_that_is_there_is_no_new_file() {
    let repository = hosted();
    let upload = |filename: &str| Form::new("foo-bar", "1.0", filename, sdist("foo-bar", "1.0"));
    upload("foo_bar-1.0.tar.gz").upload(&repository).await.unwrap();
    for spelling in ["Foo_Bar-1.0.tar.gz", "foo-bar-1.0.tar.gz", "foo_bar-1.0.0.tar.gz"] {
        let error = upload(spelling).upload(&repository).await.unwrap_err();
        assert_eq!(error.code(), "file-exists", "{spelling}");
    }
    assert_eq!(page(&repository, "foo-bar").await["files"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_wrong_digest_is_refused_whichever_it_is() {
    let repository = hosted();
    for field in ["sha256_digest", "md5_digest", "blake2_256_digest"] {
        let form = Form::wheel("foo", "1.0", wheel("foo", "1.0")).with(field, &"0".repeat(64));
        let error = form.upload(&repository).await.unwrap_err();
        assert_eq!(error.code(), "digest-mismatch", "{field}");
        assert_eq!(PyPi.error(&error).status, 400);
    }
    assert_eq!(repository.package_count(), 0);
}

#[tokio::test]
async fn what_the_form_says_must_be_what_the_bytes_say() {
    let repository = hosted();
    let good = || wheel("foo", "1.0");
    let two_names = format!("Name: other\n{}", metadata("foo", "1.0"));
    let no_wheel_file = zip_of(&[("foo-1.0.dist-info/METADATA", &metadata("foo", "1.0"))]);
    let two_folders = zip_of(&[("foo-1.0.dist-info/METADATA", ""), ("bar-1.0.dist-info/METADATA", "")]);
    for (why, form, code) in [
        ("name in form", Form::wheel("foo", "1.0", good()).with("name", "bar"), "filename-invalid"),
        ("version in form", Form::wheel("foo", "1.0", good()).with("version", "2.0"), "metadata-disagrees"),
        ("type in form", Form::wheel("foo", "1.0", good()).with("filetype", "sdist"), "metadata-disagrees"),
        ("folder in wheel", Form::wheel("bar", "1.0", good()), "metadata-disagrees"),
        ("version of folder", Form::wheel("foo", "2.0", good()), "metadata-disagrees"),
        (
            "name in METADATA",
            Form::wheel("foo", "1.0", wheel_with("foo", "1.0", &metadata("bar", "1.0"), "")),
            "metadata-disagrees",
        ),
        (
            "version in METADATA",
            Form::wheel("foo", "1.0", wheel_with("foo", "1.0", &metadata("foo", "3.0"), "")),
            "metadata-disagrees",
        ),
        ("two names", Form::wheel("foo", "1.0", wheel_with("foo", "1.0", &two_names, "")), "metadata-broken"),
        ("no WHEEL", Form::wheel("foo", "1.0", no_wheel_file), "wheel-dist-info"),
        ("two dist-infos", Form::wheel("foo", "1.0", two_folders), "wheel-dist-info"),
        ("PKG-INFO", Form::new("foo", "1.0", "foo-1.0.tar.gz", sdist("foo", "2.0")), "metadata-disagrees"),
        (
            "no PKG-INFO",
            Form::new("foo", "1.0", "foo-1.0.tar.gz", tar_gz_of(&[("foo-1.0/setup.py", "")])),
            "sdist-pkg-info",
        ),
        (
            "no PEP 440",
            Form::new("foo", "2004d", "foo-2004d.tar.gz", sdist("foo", "2004d")),
            "version-invalid",
        ),
    ] {
        let error = form.upload(&repository).await.expect_err(why);
        assert_eq!(error.code(), code, "{why}: {error}");
        assert_eq!(PyPi.error(&error).status, 400, "{why}");
        assert_eq!(repository.package_count(), 0, "{why}");
    }
}

#[tokio::test]
async fn paths_that_lead_out_of_an_archive_or_a_name_are_refused() {
    let repository = hosted();
    let info = metadata("foo", "1.0");
    for (form, code) in [
        (
            Form::wheel("foo", "1.0", zip_of(&[("../evil", ""), ("foo-1.0.dist-info/METADATA", &info)])),
            "archive-path",
        ),
        (
            Form::new(
                "foo",
                "1.0",
                "foo-1.0.tar.gz",
                tar_gz_of(&[("foo-1.0/PKG-INFO", &info), ("/evil", "")]),
            ),
            "archive-path",
        ),
        (Form::new("foo", "1.0", "foo-1.0.tar.gz", tar_gz_of(&[("foo-1.0/../../evil", "")])), "archive-path"),
        (Form::new("foo", "1.0", "../foo-1.0.tar.gz", sdist("foo", "1.0")), "filename-invalid"),
        (Form::new("foo", "1.0", "..%2ffoo-1.0.tar.gz", sdist("foo", "1.0")), "filename-invalid"),
        (Form::new("../foo", "1.0", "foo-1.0.tar.gz", sdist("foo", "1.0")), "name-invalid"),
        (Form::new("foo", "1.0", "foo-1.0.exe", sdist("foo", "1.0")), "filename-invalid"),
        (Form::new("foo", "1.0", "", sdist("foo", "1.0")), "filename-invalid"),
    ] {
        let error = form.upload(&repository).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), (code, ErrorKind::Invalid), "{error}");
    }
    assert_eq!(repository.package_count(), 0);
}

#[tokio::test]
async fn an_upload_that_breaks_off_or_a_broken_archive_leaves_nothing() {
    let repository = hosted();
    let form = Form::wheel("foo", "1.0", wheel("foo", "1.0"));
    let body = form.body();
    for end in [body.len() / 2, body.len() - 10, 10, 0] {
        let error = send(&repository, body[..end].to_vec()).await.unwrap_err();
        assert_eq!(error.code(), "upload-truncated", "cut at {end}: {error}");
    }
    for (filename, bytes) in
        [("foo-1.0-py3-none-any.whl", wheel("foo", "1.0")), ("foo-1.0.tar.gz", sdist("foo", "1.0"))]
    {
        for damaged in [bytes[..bytes.len() - 30].to_vec(), b"no archive at all".to_vec(), Vec::new()] {
            let error = Form::new("foo", "1.0", filename, damaged).upload(&repository).await.unwrap_err();
            assert!(matches!(error.code(), "archive-broken" | "sdist-pkg-info"), "{filename}: {error:?}");
        }
    }
    assert_eq!(repository.package_count(), 0);
}

#[tokio::test]
async fn a_form_that_is_not_an_upload_is_refused_by_name() {
    let repository = hosted();
    let good = || Form::wheel("foo", "1.0", wheel("foo", "1.0"));
    for (form, code) in [
        (good().with(":action", "submit"), "upload-action"),
        (good().with("protocol_version", "2"), "upload-action"),
        (good().without(":action"), "upload-field"),
        (good().without("name"), "upload-field"),
        (good().without("version"), "upload-field"),
        (good().without_file(), "upload-field"),
        (good().and("version", "9.9"), "upload-field"),
        (good().with("description", &"x".repeat(17 << 20)), "upload-form-too-large"),
    ] {
        assert_eq!(form.upload(&repository).await.unwrap_err().code(), code);
    }
    let headers = [("content-type", "application/json")];
    let error = repository.publish(&PyPi, http::Method::POST, "/", &headers, "{}").await.unwrap_err();
    assert_eq!(error.code(), "upload-form");
    assert_eq!(repository.package_count(), 0);
}

#[tokio::test]
async fn a_mirror_takes_no_uploads() {
    let repository = mirror();
    let error = Form::wheel("foo", "1.0", wheel("foo", "1.0")).upload(&repository).await.unwrap_err();
    assert_eq!((error.code(), PyPi.error(&error).status.as_u16()), ("not-hosted", 403));
    assert_eq!(repository.package_count(), 0);
}

#[tokio::test]
async fn local_versions_have_escaped_addresses_that_work() {
    let repository = hosted();
    Form::wheel("foo", "1.0+cu1", wheel("foo", "1.0+cu1")).upload(&repository).await.unwrap();
    let page = page(&repository, "foo").await;
    let url = page["files"][0]["url"].as_str().unwrap();
    assert_eq!(url, "../../files/foo/foo-1.0%2Bcu1-py3-none-any.whl");
    let (status, _, _) = repository.get(&PyPi, url.trim_start_matches("../.."), "*/*").await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_yank_and_its_reason_stand_on_every_file_and_can_be_taken_back() {
    let repository = hosted();
    Form::wheel("foo", "1.0", wheel("foo", "1.0")).upload(&repository).await.unwrap();
    let (package, version) = ("foo".to_owned(), "1.0".to_owned());
    let reason = "eats <files>".to_owned();
    let yank = Change::Yank { package: package.clone(), version: version.clone(), reason };
    repository.commit(&PyPi, &[yank]).await.unwrap();
    assert_eq!(page(&repository, "foo").await["files"][0]["yanked"], "eats <files>");
    let (_, _, html) = repository.get(&PyPi, "/simple/foo/", "text/html").await;
    assert!(String::from_utf8_lossy(&html).contains("data-yanked=\"eats &lt;files&gt;\""));
    let (status, _, _) = repository.get(&PyPi, "/files/foo/foo-1.0-py3-none-any.whl", "*/*").await;
    assert_eq!(status, 200, "who pinned it still gets it");
    repository.commit(&PyPi, &[Change::Unyank { package, version }]).await.unwrap();
    assert_eq!(page(&repository, "foo").await["files"][0]["yanked"], false);
}

#[tokio::test]
async fn the_stored_metadata_file_is_the_blob_that_the_page_names() {
    let repository = hosted();
    Form::wheel("foo", "1.0", wheel("foo", "1.0")).upload(&repository).await.unwrap();
    let path = "files/foo/foo-1.0-py3-none-any.whl.metadata";
    let file = repository.file(path).await.unwrap().unwrap();
    assert_eq!(file.role, "metadata");
    assert_eq!(file.digests, digests_of(metadata("foo", "1.0").as_bytes()));
}
